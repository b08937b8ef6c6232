"""Scheduled HLO text becomes the program it says, and other text is refused by line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.memory_mapping.hardware import load_hardware
from sysopt_gym.datasets.memory_mapping.hlo import load_hlo
from sysopt_gym.datasets.memory_mapping.hlo_text import parse_module
from sysopt_gym.datasets.memory_mapping.instance import ARG, CONST, OUT, TMP, Program, accesses
from sysopt_gym.datasets.memory_mapping.loaders import load_file
from sysopt_gym.datasets.memory_mapping.splits import HLO_FILES, SETS

HEADER = "HloModule jit_f, is_scheduled=true, entry_computation_layout={()->f32[]}\n\n"
MLP = (
    HEADER
    + """
%fused (p0: f32[64,128], p1: f32[128,32]) -> f32[64,32] {
  %p0 = f32[64,128]{1,0} parameter(0)
  %p1 = f32[128,32]{1,0} parameter(1)
  %dot.1 = f32[64,32]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %tanh.1 = f32[64,32]{1,0} tanh(%dot.1)
}

ENTRY %main (x: f32[64,128], w: f32[128,32]) -> (f32[64,32], f32[64,32]) {
  %x = f32[64,128]{1,0:T(8,128)} parameter(0), metadata={op_name="x"}
  %w = f32[128,32]{1,0:T(8,128)S(1)} parameter(1)
  %fusion = f32[64,32]{1,0} fusion(%x, %w), kind=kOutput, calls=%fused
  %b = f32[2048]{0} bitcast(%fusion)
  %r = f32[64,32]{1,0} reshape(%b)
  %n = f32[64,32]{1,0} negate(f32[64,32]{1,0} %r)
  ROOT %t = (f32[64,32]{1,0}, /*index=1*/f32[64,32]{1,0}) tuple(%fusion, %n)
}
"""
)


def program(text: str, capacity: str = "1MiB") -> Program:
    return load_hlo("dump.txt", "dump", text, load_hardware("tpu-like"), capacity)


def test_a_fusion_is_one_instruction_with_the_flops_of_its_body() -> None:
    p = program(MLP)
    assert p.instr_names == ("fusion", "r", "n")
    assert p.instr_flops.tolist() == [2 * 64 * 128 * 32 + 64 * 32, 0, 64 * 32]


def test_sizes_kinds_and_operands_are_those_of_the_text() -> None:
    p = program(MLP)
    sizes = dict(zip(p.tensor_names, p.tensor_size.tolist(), strict=True))
    assert sizes == {"x": 32768, "w": 16384, "fusion": 8192, "r": 8192, "n": 8192}
    assert p.tensor_kind.tolist() == [ARG, ARG, OUT, TMP, OUT]


def test_a_bitcast_is_another_name_for_the_same_buffer() -> None:
    p = program(MLP)
    reads = p.op_tensor[p.op_start[1] : p.op_start[2]]
    assert [p.tensor_names[t] for t in reads] == ["fusion", "r"]


LOOP = (
    HEADER
    + """
body {
  p = (s32[], f32[2048], f32[64,2048]) parameter(0)
  i = s32[] get-tuple-element(p), index=0
  s = f32[2048] get-tuple-element(p), index=1
  xs = f32[64,2048] get-tuple-element(p), index=2
  zero = s32[] constant(0)
  slice = f32[1,2048] dynamic-slice(xs, i, zero), dynamic_slice_sizes={1,2048}
  flat = f32[2048] bitcast(slice)
  next = f32[2048] add(s, flat)
  row = f32[1,2048] bitcast(next)
  new = f32[64,2048] dynamic-update-slice(xs, row, i, zero)
  ROOT out = (s32[], f32[2048], f32[64,2048]) tuple(i, next, new)
}

condition {
  q = (s32[], f32[2048], f32[64,2048]) parameter(0)
  ROOT yes = pred[] constant(true)
}

ENTRY main {
  a = f32[64,2048] parameter(0)
  c = s32[] constant(0)
  start = f32[2048] parameter(1)
  s0 = f32[2048] copy(start)
  x0 = f32[64,2048] copy(a)
  init = (s32[], f32[2048], f32[64,2048]) tuple(c, s0, x0)
  loop = (s32[], f32[2048], f32[64,2048]) while(init), condition=condition, body=body, BACKEND
  ROOT result = f32[2048] get-tuple-element(loop), index=1
}
"""
).replace("BACKEND", 'backend_config={"known_trip_count":{"n":"64"}}')


def test_a_loops_body_counts_with_its_trips_and_keeps_its_state_in_place() -> None:
    p = program(LOOP)
    assert p.instr_names == ("s0", "x0", "slice", "next", "new")
    assert p.instr_repeat.tolist() == [1, 1, 64, 64, 64]
    owner = accesses(p).tensor_buffer
    row = {name: owner[k] for k, name in enumerate(p.tensor_names)}
    assert row["next"] == row["s0"]
    assert row["new"] == row["x0"]


def test_a_slice_counts_for_the_part_that_is_read_or_written() -> None:
    p = program(LOOP)
    a = accesses(p)
    new = [k for k in range(len(a.instr)) if a.instr[k] == 4 and a.writes[k]]
    assert a.written[new].tolist() == [64 * 2048 * 4]
    assert a.read[new].tolist() == [0]
    x0 = a.tensor_buffer[p.tensor_names.index("x0")]
    sliced = (a.instr == 2) & (a.buffer == x0)
    assert a.read[sliced].tolist() == [64 * 2048 * 4]


def test_a_donated_argument_gives_its_storage_to_the_output() -> None:
    donated = MLP.replace(
        "is_scheduled=true,", "is_scheduled=true, input_output_alias={ {1}: (0, {}, may-alias) },"
    )
    p = program(donated)
    assert p.tensor_alias[p.tensor_names.index("n")] == p.tensor_names.index("x")


def test_copies_of_an_earlier_assignment_are_no_instructions() -> None:
    text = MLP.replace(
        "calls=%fused",
        "calls=%fused\n  %cs = (f32[64,32]{1,0:S(1)}, f32[64,32]{1,0}, u32[]) copy-start(%fusion)\n"
        "  %cd = f32[64,32]{1,0:S(1)} copy-done(%cs)",
    ).replace("bitcast(%fusion)", "bitcast(%cd)")
    assert program(text).instr_names == ("fusion", "r", "n")


def test_an_asynchronous_operation_runs_where_it_is_done() -> None:
    text = MLP.replace(
        "calls=%fused",
        "calls=%fused\n  %s = (f32[64,32], f32[64,32]) all-reduce-start(%fusion)\n"
        "  %d = f32[64,32] all-reduce-done(%s)",
    ).replace("bitcast(%fusion)", "bitcast(%d)")
    p = program(text)
    assert p.instr_names == ("fusion", "d", "r", "n")
    assert p.tensor_kind[p.tensor_names.index("d")] == TMP


def test_constants_are_there_from_the_start() -> None:
    text = MLP.replace(
        "%w = f32[128,32]{1,0:T(8,128)S(1)} parameter(1)", "%w = f32[128,32]{1,0} constant({...})"
    )
    p = program(text)
    assert p.tensor_kind[p.tensor_names.index("w")] == CONST


REFUSED = [
    (MLP.replace("is_scheduled=true", "is_scheduled=false"), "line 1: the module is not scheduled"),
    (MLP.replace(" is_scheduled=true,", ""), "not scheduled"),
    ("\n".join(MLP.splitlines()[:-3]), "ends within computation 'main'; the file is cut off"),
    (MLP.replace("HloModule", "Module"), "no HLO text"),
    (MLP + MLP, "line 20: another module begins"),
    (MLP.replace("ENTRY ", ""), "no ENTRY computation"),
    (MLP.replace("f32[64,32]{1,0} reshape", "f32[<=64,32]{1,0} reshape"), "line 16: .* dynamic"),
    (MLP.replace("f32[64,32]{1,0} reshape", "f32[?,32]{1,0} reshape"), "dynamic"),
    (MLP.replace("f32[64,32]{1,0} reshape", "f33[64,32]{1,0} reshape"), "is no shape"),
    (
        MLP.replace("reshape(%b)", "reshape(%nothing)"),
        "operand 'nothing' is not made",
    ),
    (MLP.replace("reshape(%b)", "reshape(%b"), "line 16"),
    (MLP.replace("%r = ", "%r "), "line 16: .* is no HLO instruction"),
    (MLP.replace("%r = ", "%fusion = "), "the name stands twice"),
    (MLP.replace("calls=%fused\n", "calls=%gone\n"), "no computation 'gone'"),
    (MLP.replace("lhs_contracting_dims={1}", "lhs_contracting_dims={7}"), "contracts dimension 7"),
    (MLP.replace("ROOT %t =", "%t ="), "has no ROOT"),
    (MLP.replace("parameter(1)\n  %fusion", "parameter(one)\n  %fusion"), "needs its number"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_text_that_is_no_scheduled_program_is_refused_by_line(text: str, why: str) -> None:
    with pytest.raises(InstanceError, match=why) as refused:
        program(text)
    assert str(refused.value).startswith("dump.txt: ")


def test_every_prefix_of_a_dump_is_refused_or_read_never_a_crash() -> None:
    for end in range(0, len(MLP), 7):
        try:
            parse_module("cut", MLP[:end])
            program(MLP[:end])
        except InstanceError:
            continue


def test_a_gzipped_dump_is_read_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlp.hlo.txt.gz"
    packed = gzip.compress(MLP.encode())
    path.write_bytes(packed)
    read = load_file(path, {"capacity": "1MiB"})
    assert read.n_instrs == 3
    assert load_file(path, capacity="1MiB").content_hash == read.content_hash
    path.write_bytes(packed[:-20])
    with pytest.raises(InstanceError, match="damaged gzip"):
        load_file(path)


# XLA's own cost analysis of the dumps (jaxlib 0.10.2): FLOPs and transcendental functions.
FLOPS = {
    "mlp_fwd": 3_222_798_336, "mlp_train": 9_144_369_152, "resnet18_224_fwd": 3_369_286_656,
    "resnet18_224_train": 9_925_538_792, "unet128_fwd": 4_481_598_464,
    "gpt2s_x4_fwd": 71_914_738_176, "lstm_T64_scan_fwd": 134_643_712,
}  # fmt: skip


def test_the_real_programs_have_the_flops_that_xla_counts() -> None:
    for p in SETS.load("hlo"):  # loops once, as XLA counts them
        assert p.instr_flops.sum() == pytest.approx(FLOPS[p.name.removeprefix("hlo/")], rel=1e-6)


@pytest.mark.parametrize("name", HLO_FILES)
def test_the_embedded_programs_are_those_of_the_dumps(
    data_file: Callable[[str], Path], name: str
) -> None:
    path = data_file(f"programs/hlo/{name}.hlo.txt.gz")
    embedded = next(p for p in SETS.load("hlo") if p.name == f"hlo/{name}")
    assert load_file(path).content_hash == embedded.content_hash
