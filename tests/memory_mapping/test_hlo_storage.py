"""What shares storage, what is touched of an operand, and which memory it is in."""

from __future__ import annotations

import pytest
from hlo_modules import KIB, SMALL, A, load, module, moved, shares
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.memory_mapping.hardware import load_hardware
from sysopt_gym.datasets.memory_mapping.hlo import load_hlo
from sysopt_gym.datasets.memory_mapping.instance import AWAY, Program, accesses, peak_bytes

CACHE, ROW = "bf16[512,64]{1,0}", "bf16[1,64]{1,0}"  # 64 KiB, 128 bytes
DONATED = ", input_output_alias={ {0}: (0, {}, must-alias), {1}: (1, {}, must-alias) }"
APPEND = f"""append: a = {CACHE} parameter(0)
  b = {CACHE} parameter(1)
  u = {ROW} parameter(2)
  at = s32[] parameter(3)
  zero = s32[] constant(0)
  fa = bf16[32768]{{0}} bitcast(a)
  ba = {CACHE} bitcast(fa)
  na = {CACHE} dynamic-update-slice(ba, u, at, zero)
  nb = {CACHE} dynamic-update-slice(b, u, at, zero)
  nc = {CACHE} dynamic-update-slice(nb, u, zero, zero)
  ROOT both = ({CACHE}, {CACHE}) tuple(na, nc)"""


def test_several_slices_are_updated_in_place_in_one_fusion() -> None:
    text = module(
        f"k = {CACHE} parameter(0)\n v = {CACHE} parameter(1)\n u = {ROW} parameter(2)\n"
        f" at = s32[] parameter(3)\n"
        f" ROOT f = ({CACHE}, {CACHE}) fusion(k, v, u, at), kind=kLoop, calls=append",
        APPEND, header=DONATED,
    )  # fmt: skip
    p = load(text)
    assert moved(p, "f") == ({"k": 0, "v": 0, "u": 128, "at": 4}, {"f.0": 128, "f.1": 256})
    assert shares(p, "f.0", "k")
    assert shares(p, "f.1", "v")


def test_what_is_used_later_is_not_updated_in_place() -> None:
    text = module(
        f"k = {CACHE} parameter(0)\n u = {ROW} parameter(1)\n at = s32[] constant(3)\n"
        f" n = {CACHE} dynamic-update-slice(k, u, at, at)\n ROOT y = {CACHE} add(n, k)"
    )
    p = load(text)
    assert not shares(p, "n", "k")
    assert moved(p, "n") == ({"k": 64 * KIB - 128, "u": 128, "at": 8}, {"n": 64 * KIB})
    called = (
        f"append: a = {CACHE} parameter(0)\n u = {ROW} parameter(1)\n at = s32[] constant(3)\n"
        f" ROOT m = {CACHE} dynamic-update-slice(a, u, at, at)"
    )
    entry = f"k = {CACHE} parameter(0)\n u = {ROW} parameter(1)\n n = {CACHE} call(k, u), "
    entry += f"to_apply=append\n ROOT y = {CACHE} add(n, OTHER)"
    assert not shares(load(module(entry.replace("OTHER", "k"), called)), "m", "k")
    assert shares(load(module(entry.replace("OTHER", "n"), called)), "m", "k")


PLUS = "plus: a = f32[] parameter(0)\n b = f32[] parameter(1)\n ROOT c = f32[] add(a, b)"
INNER = (
    f"inner: q = {A} parameter(0)\n i = s32[] parameter(1)\n"
    f" ROOT r = {SMALL} dynamic-slice(q, i, i), dynamic_slice_sizes={{8,64}}"
)


def test_one_array_under_two_names_is_not_overwritten_while_one_is_used() -> None:
    twice = (
        f"twice: a = {CACHE} parameter(0)\n b = {CACHE} parameter(1)\n u = {ROW} parameter(2)\n"
        f" at = s32[] constant(3)\n m = {CACHE} dynamic-update-slice(a, u, at, at)\n"
        f" ROOT s = {CACHE} add(m, OTHER)"
    )
    entry = f"k = {CACHE} parameter(0)\n u = {ROW} parameter(1)\n"
    entry += f" ROOT n = {CACHE} call(k, k, u), to_apply=twice"
    assert not shares(load(module(entry, twice.replace("OTHER", "b"))), "m", "k")
    assert shares(load(module(entry, twice.replace("OTHER", "m"))), "m", "k")


def fused(body: str, *shapes: str, result: str = SMALL) -> Program:
    """Load a fusion of parameters 0, 1, ... of the given shapes, and a negation of its result."""
    parameters = "\n".join(f" p{k} = {s} parameter({k})" for k, s in enumerate(shapes))
    names = ", ".join(f"p{k}" for k in range(len(shapes)))
    entry = f"{parameters}\n f = {result} fusion({names}), kind=kLoop, calls=body\n"
    entry += f" ROOT n = {result} negate(f)"
    return load(module(entry, INNER, PLUS, f"body:{parameters}\n{body}"))


SLICED = {
    "a slice": (f"ROOT s = {SMALL} slice(p0), slice={{[0:8], [0:64]}}", 2 * KIB),
    "behind names": (
        f"b = f32[4096] bitcast(p0)\n c = {A} reshape(b)\n"
        f" ROOT s = {SMALL} dynamic-slice(c, p1, p1), dynamic_slice_sizes={{8,64}}", 2 * KIB,
    ),
    "behind elementwise work": (
        f"b = {A} tanh(p0)\n c = {A} multiply(b, p0)\n"
        f" ROOT s = {SMALL} dynamic-slice(c, p1, p1), dynamic_slice_sizes={{8,64}}", 4 * KIB,
    ),
    "in a fusion within": (f"ROOT s = {SMALL} fusion(p0, p1), kind=kLoop, calls=inner", 2 * KIB),
    "twice": (
        f"a = {SMALL} slice(p0), slice={{[0:8], [0:64]}}\n b = {SMALL} slice(p0), slice={{[8:16], "
        f"[0:64]}}\n ROOT s = {SMALL} add(a, b)", 4 * KIB,
    ),
    "gathered": (
        f"i = s32[8,1] broadcast(p1), dimensions={{}}\n ROOT s = {SMALL} gather(p0, i), "
        "offset_dims={1}, collapsed_slice_dims={0}, start_index_map={0}, index_vector_dim=1, "
        "slice_sizes={1,64}", 2 * KIB,
    ),
    "and read whole": (
        f"a = {SMALL} slice(p0), slice={{[0:8], [0:64]}}\n z = f32[] constant(0)\n"
        f" w = f32[] reduce(p0, z), dimensions={{0,1}}, to_apply=plus\n"
        f" v = {SMALL} broadcast(w), dimensions={{}}\n ROOT s = {SMALL} add(a, v)", 16 * KIB,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", SLICED)
def test_of_a_sliced_parameter_the_part_counts(form: str) -> None:
    body, expected = SLICED[form]
    p = fused(body, A, "s32[]")
    assert moved(p, "f").reads["p0"] == expected
    assert moved(p, "f").writes == {"f": 2 * KIB}


def test_a_slice_that_is_written_back_is_read_and_written() -> None:
    body = f"""zero = s32[] constant(0)
  s = {SMALL} dynamic-slice(p0, p1, zero), dynamic_slice_sizes={{8,64}}
  t = {SMALL} tanh(s)
  ROOT u = {A} dynamic-update-slice(p0, t, p1, zero)"""
    p = fused(body, A, "s32[]", result=A)
    assert moved(p, "f") == ({"p0": 2 * KIB, "p1": 4}, {"f": 2 * KIB})
    assert shares(p, "f", "p0")


def test_a_scatter_touches_what_it_changes() -> None:
    new = "new: a = f32[] parameter(0)\n ROOT b = f32[] parameter(1)"
    for to_apply, read in (("plus", 2 * KIB), ("new", 0)):
        text = module(
            f"x = {A} parameter(0)\n i = s32[8,1] parameter(1)\n u = {SMALL} parameter(2)\n"
            f" ROOT y = {A} scatter(x, i, u), update_window_dims={{1}}, "
            f"inserted_window_dims={{0}}, scatter_dims_to_operand_dims={{0}}, "
            f"index_vector_dim=1, to_apply={to_apply}",
            PLUS, new,
        )  # fmt: skip
        p = load(text)
        assert moved(p, "y") == ({"x": read, "i": 32, "u": 2 * KIB}, {"y": 2 * KIB})
        assert p.instr_flops.sum() == (512 if to_apply == "plus" else 0)


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_kernel_says_which_operand_it_writes(place: str) -> None:
    said = "output_to_operand_aliasing={{}: (0, {})}"
    target = 'custom_call_target="mine"'
    attributes = f"{said}, {target}" if place == "first" else f"{target}, {said}"
    text = module(
        f"x = {A} parameter(0)\n c = {A} negate(x)\n w = {A} custom-call(c), {attributes}\n"
        f" ROOT y = {A} tanh(w)"
    )
    with pytest.warns(InputNote, match="what 'mine' computes is unknown"):
        p = load_hlo("m.txt", "m", text, load_hardware("tpu-like"), "1/1")
    assert shares(p, "w", "c")
    assert not shares(p, "y", "c")


FORWARDED = [
    f'd = {A} domain(a), domain={{kind="sharding", entry={{maximal device=0}}, exit={{}}}}',
    f"t = token[] after-all()\n d = {A} add-dependency(a, t)",
    f"d = {A} opt-barrier(a)",
    f"t = ({A}, s32[]) tuple(a, i)\n b = ({A}, s32[]) opt-barrier(t)\n"
    f" d = {A} get-tuple-element(b), index=0",
    f"s = ({A[:-1]}:S(1)}}, {A}, u32[]) copy-start(a)\n d = {A[:-1]}:S(1)}} copy-done(s)",
    f"s0 = (({A}), f32[32,64]{{1,0:S(1)}}, s32[]) slice-start(a), slice={{[0:32], [0:64]}}\n"
    f" s1 = (({A}), f32[32,64]{{1,0:S(1)}}, s32[]) slice-start(a), slice={{[32:64], [0:64]}}\n"
    " d0 = f32[32,64]{1,0:S(1)} slice-done(s0)\n d1 = f32[32,64]{1,0:S(1)} slice-done(s1)\n"
    f' d = {A[:-1]}:S(1)}} custom-call(d0, d1), custom_call_target="ConcatBitcast"',
]


@pytest.mark.parametrize("forwarded", FORWARDED)
def test_what_only_passes_a_value_on_is_no_instruction(forwarded: str) -> None:
    text = module(
        f"x = {A} parameter(0)\n i = s32[] parameter(1)\n a = {A} negate(x)\n {forwarded}\n"
        f" ROOT y = {A} tanh(d)"
    )
    p = load(text)
    assert p.instr_names == ("a", "y")
    assert p.n_tensors == 4


def test_slices_that_are_not_the_whole_array_are_taken() -> None:
    text = module(
        f"x = {A} parameter(0)\n"
        f" s = (({A}), {SMALL}, s32[]) slice-start(x), slice={{[0:8], [0:64]}}\n"
        f" d = {SMALL} slice-done(s)\n ROOT y = {SMALL} negate(d)"
    )
    assert moved(load(text), "d") == ({"x": 2 * KIB}, {"d": 2 * KIB})


def test_a_copy_within_the_device_is_an_instruction() -> None:
    text = module(
        f"x = {A} parameter(0)\n s = ({A}, {A}, u32[]) copy-start(x)\n c = {A} copy-done(s)\n"
        f" ROOT y = {A} negate(c)"
    )
    assert load(text).instr_names == ("c", "y")


def test_received_data_have_one_buffer() -> None:
    text = module(
        f"x = {A} parameter(0)\n t = token[] after-all()\n"
        f" r = ({A}, u32[], token[]) recv(t), channel_id=2\n"
        f" s = ({A}, u32[], token[]) send(x, t), channel_id=1\n"
        f" rd = ({A}, token[]) recv-done(r), channel_id=2\n"
        f" data = {A} get-tuple-element(rd), index=0\n sd = token[] send-done(s)\n"
        f" ROOT y = {A} negate(data)"
    )
    p = load(text)
    assert p.instr_names == ("r", "s", "y")
    assert peak_bytes(p) == 2 * 16 * KIB
    assert p.op_bytes.sum() == 4 * 16 * KIB


COLLECTIVES = {
    "all-gather": (SMALL, A, "dimensions={0}"),
    "collective-permute": (A, A, "source_target_pairs={{0,1}}"),
    "reduce-scatter": (A, SMALL, "dimensions={0}, to_apply=plus"),
    "all-to-all": (A, A, "dimensions={0}"),
    "all-reduce": (A, A, "to_apply=plus"),
}


@pytest.mark.parametrize("kind", COLLECTIVES)
def test_collectives_read_and_write_once_started_or_not(kind: str) -> None:
    operand, result, attributes = COLLECTIVES[kind]
    entry = (
        f"x = {operand} parameter(0)\n a = {operand} negate(x)\n COMM\n ROOT y = {result} tanh(c)"
    )
    plain = module(entry.replace("COMM", f"c = {result} {kind}(a), {attributes}"), PLUS)
    started = result if kind == "all-reduce" else f"({operand}, {result}, u32[], u32[])"
    text = f"s = {started} {kind}-start(a), {attributes}\n c = {result} {kind}-done(s)"
    both = [load(plain), load(module(entry.replace("COMM", text), PLUS))]
    for p in both:
        assert p.instr_names == ("a", "c", "y")
        assert len(moved(p, "c").reads) == len(moved(p, "c").writes) == 1
    assert both[0].op_bytes.tolist() == both[1].op_bytes.tolist()
    assert both[0].instr_flops.tolist() == both[1].instr_flops.tolist()
    assert shares(both[1], "c", "a") == (kind == "all-reduce")


def test_room_without_contents_is_made_by_what_first_writes_it() -> None:
    text = module(
        f"x = {SMALL} parameter(0)\n i = s32[] parameter(1)\n"
        f' room = {A} custom-call(), custom_call_target="AllocateBuffer"\n'
        f" a = {A} dynamic-update-slice(room, x, i, i)\n ROOT y = {A} negate(a)"
    )
    p = load(text)
    assert p.instr_names == ("a", "y")
    assert moved(p, "a") == ({"x": 2 * KIB, "i": 8}, {"a": 2 * KIB})
    assert shares(p, "a", "room")


HOST = A[:-1] + ":S(5)}"


def test_arrays_of_the_host_are_not_in_the_devices_memory() -> None:
    text = module(
        f"x = {A} parameter(0)\n a = {A} exponential(x)\n"
        f" out = ({HOST}, {A}, u32[]) copy-start(a)\n b = {A} tanh(a)\n h = {HOST} copy-done(out)\n"
        f" c = {A} cosine(b)\n d = {A} add(b, c)\n e = {A} negate(d)\n"
        f" in = ({A}, {HOST}, u32[]) copy-start(h)\n back = {A} copy-done(in)\n"
        f" ROOT y = {A} multiply(e, back)"
    )
    p = load(text)
    assert p.instr_names == ("a", "b", "h", "c", "d", "e", "back", "y")
    assert peak_bytes(p) == 3 * 16 * KIB
    assert p.tensor_pin[p.tensor_names.index("h")] == AWAY
    assert moved(p, "back") == ({"h": 16 * KIB}, {"back": 16 * KIB})
    a = accesses(p)  # of slow memory's traffic only the device's side is part
    host = a.tensor_buffer[p.tensor_names.index("h")]
    assert a.read[a.buffer == host].sum() == a.written[a.buffer == host].sum() == 0
    assert a.read.sum() + a.written.sum() == p.op_bytes.sum() - 2 * 16 * KIB


def test_a_slice_is_stored_in_an_array_of_the_host() -> None:
    text = module(
        f"saved = {HOST} parameter(0)\n now = {SMALL} parameter(1)\n i = s32[] parameter(2)\n"
        f" x = {A} parameter(3)\n s = (({HOST}, {SMALL}, s32[], s32[]), {HOST}, u32[]) "
        f"dynamic-update-slice-start(saved, now, i, i)\n y = {A} negate(x)\n"
        f" d = {HOST} dynamic-update-slice-done(s)\n ROOT t = ({HOST}, {A}) tuple(d, y)"
    )
    p = load(text)
    assert moved(p, "d") == ({"saved": 0, "now": 2 * KIB, "i": 8}, {"d": 2 * KIB})
    assert shares(p, "d", "saved")


def test_what_the_host_computes_takes_no_time_of_the_device() -> None:
    work = f"work: p = {HOST} parameter(0)\n ROOT t = {HOST} tanh(p)"
    text = module(
        f"h = {HOST} parameter(0)\n x = {A} parameter(1)\n"
        f" s = (({HOST}), {HOST}, u32[]) call-start(h), to_apply=work, "
        f'async_execution_thread="host"\n y = {A} negate(x)\n d = {HOST} call-done(s)\n'
        f" ROOT o = ({A}, {HOST}) tuple(y, d)",
        work,
    )
    with pytest.warns(InputNote, match="the host computes this.*%t"):
        p = load_hlo("m.txt", "m", text, load_hardware("tpu-like"), "1/1")
    assert dict(zip(p.instr_names, p.instr_flops.tolist(), strict=True)) == {"y": 4096, "t": 0}


def test_another_memory_space_is_said() -> None:
    text = module(f"x = {A[:-1]}:S(3)}} parameter(0)\n ROOT y = {A} negate(x)")
    with pytest.warns(InputNote, match="memory space 3 is unknown and counts as the device's"):
        load_hlo("m.txt", "m", text, load_hardware("tpu-like"), "1/1")
