"""Bodies of calls, branches and loops are laid out; types, comments and several lines are read."""

from __future__ import annotations

import pytest
from hlo_modules import KIB, A, load, module, shares
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.memory_mapping.hardware import load_hardware
from sysopt_gym.datasets.memory_mapping.hlo import load_hlo
from sysopt_gym.datasets.memory_mapping.instance import ARG, OUT, TMP, peak_bytes

WORK = f"""work: p = {A} parameter(0)
  d = {A} dot(p, p), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
  ROOT t = {A} tanh(d)"""
WORK_FLOPS = 2 * 64**3 + 64**2

CALLED = [
    f"y = {A} call(x), to_apply=work",
    f"s = (({A}), {A}, s32[]) call-start(x), to_apply=work\n y = {A} call-done(s)",
    f"s = (({A}), {A}, s32[]) async-start(x), calls=work\n y = {A} async-done(s), calls=work",
    f"s = (({A}), {A}, s32[]) async-start(x), calls=work\n"
    f" u = (({A}), {A}, s32[]) async-update(s)\n y = {A} async-done(u)",
    f"c = s32[] constant(1)\n y = {A} conditional(c, x, x), branch_computations={{light, work}}",
    f"c = pred[] constant(true)\n y = {A} conditional(c, x, x), true_computation=work, "
    "false_computation=light",
    f"c = pred[] constant(true)\n y = {A} conditional(c, x, x), true_computation=light, "
    "false_computation=work",
]


@pytest.mark.parametrize("called", CALLED)
def test_a_body_is_laid_out_however_it_is_called(called: str) -> None:
    light = f"light: p = {A} parameter(0)\n ROOT n = {A} negate(p)"
    p = load(module(f"x = {A} parameter(0)\n {called}\n ROOT z = {A} negate(y)", WORK, light))
    assert p.instr_names == ("d", "t", "z")
    assert p.instr_flops.sum() == WORK_FLOPS + 64**2
    assert peak_bytes(p) == 2 * 16 * KIB


def test_of_branches_the_one_that_takes_longest_counts_and_that_is_said() -> None:
    wide = (
        f"wide: p = {A} parameter(0)\n"
        + "\n".join(f" {name} = {A} negate(p)" for name in "abcd")
        + f"\n ab = {A} add(a, b)\n cd = {A} add(c, d)\n ROOT r = {A} add(ab, cd)"
    )
    inner = f"""inner: p = {A} parameter(0)
  c = s32[] constant(0)
  ROOT q = {A} conditional(c, p, p), branch_computations={{wide, light}}"""
    light = f"light: p = {A} parameter(0)\n ROOT n = {A} negate(p)"
    text = module(
        f"x = {A} parameter(0)\n c = s32[] parameter(1)\n"
        f" ROOT y = {A} conditional(c, x, x), branch_computations={{light, inner}}",
        wide, inner, light,
    )  # fmt: skip
    with pytest.warns(InputNote, match="only the one that takes longest counts .*%y.*%q"):
        p = load_hlo("m.txt", "m", text, load_hardware("tpu-like"), "1/1")
    assert p.instr_names == ("a", "b", "c", "d", "ab", "cd", "r")
    assert peak_bytes(p) == 5 * 16 * KIB


LOOP = f"""x = {A} parameter(0)
  zero = s32[] constant(FIRST)
  h = {A} copy(x)
  start = (s32[], {A}) tuple(zero, h)
  loop = (s32[], {A}) while(start), condition=more, body=body
  ROOT y = {A} get-tuple-element(loop), index=1"""
BODY = f"""body: s = (s32[], {A}) parameter(0)
  i = s32[] get-tuple-element(s), index=0
  h = {A} get-tuple-element(s), index=1
  step = s32[] constant(STEP)
  next = s32[] add(i, step)
  n = {A} tanh(h)
  ROOT o = (s32[], {A}) tuple(next, n)"""
MORE = f"""more: s = (s32[], {A}) parameter(0)
  i = s32[] get-tuple-element(s), index=0
  last = s32[] constant(LAST)
  ROOT less = pred[] compare(TEST), direction=WAY"""


def loop(first: int, step: int, last: int, way: str, flipped: bool = False) -> str:
    text = module(LOOP, BODY, MORE)
    for key, value in (("FIRST", first), ("STEP", step), ("LAST", last), ("WAY", way)):
        text = text.replace(key, str(value))
    return text.replace("TEST", "last, i" if flipped else "i, last")


@pytest.mark.parametrize("step", [-3, -1, 1, 2, 5])
@pytest.mark.parametrize("way", ["LT", "LE", "GT", "GE", "NE"])
@pytest.mark.parametrize("flipped", [False, True])
def test_trips_are_counted_from_a_counter(step: int, way: str, flipped: bool) -> None:
    test = {
        "LT": int.__lt__, "LE": int.__le__, "GT": int.__gt__, "GE": int.__ge__, "NE": int.__ne__,
    }[way]  # fmt: skip
    for first in (-4, 1, 6):
        for last in (-5, 1, 8):
            i, trips = first, 0
            while test(*((last, i) if flipped else (i, last))) and trips < 100:
                i, trips = i + step, trips + 1
            text = loop(first, step, last, way, flipped)
            p = load(text, trips=100)  # as many are taken if the loop does not end
            assert p.instr_names[0] == "h"
            repeats = dict(zip(p.instr_names, p.instr_repeat.tolist(), strict=True))
            assert repeats.get("n", 0) == trips


def test_trips_that_the_text_states_count_and_none_leave_no_body() -> None:
    for stated in ('"known_trip_count":{"n":"N"}', '\\"known_trip_count\\":{\\"n\\":\\"N\\"}'):
        for trips in (0, 1, 7):
            config = f"body=body, backend_config={{{stated.replace('N', str(trips))}}}"
            p = load(loop(0, 1, 3, "LT").replace("body=body", config))
            assert p.instr_repeat[1:].tolist() == [trips] * 2 * (trips > 0)


def test_a_loop_of_unknown_trips_is_said_and_settable() -> None:
    limit = 'custom-call(), custom_call_target="limit"'
    text = loop(0, 1, 3, "LT").replace("last = s32[] constant(3)", f"last = s32[] {limit}")
    with pytest.warns(InputNote, match="how often a loop runs is unknown: 5 assumed; .*%loop"):
        p = load_hlo("m.txt", "m", text, load_hardware("tpu-like"), "1/1", 5)
    assert p.instr_repeat.tolist() == [1, 5, 5]


def test_the_state_of_a_loop_is_copied_where_it_is_needed_otherwise() -> None:
    body = f"""body: s = (s32[], {A}, {A}) parameter(0)
  i = s32[] get-tuple-element(s), index=0
  u = {A} get-tuple-element(s), index=1
  v = {A} get-tuple-element(s), index=2
  n = {A} tanh(u)
  m = {A} add(n, u)
  ROOT o = (s32[], {A}, {A}) tuple(i, n, m)"""
    more = f"more: s = (s32[], {A}, {A}) parameter(0)\n ROOT t = pred[] constant(true)"
    text = module(
        f"x = {A} parameter(0)\n zero = s32[] constant(0)\n a = {A} negate(x)\n"
        f" start = (s32[], {A}, {A}) tuple(zero, a, a)\n"
        f" loop = (s32[], {A}, {A}) while(start), condition=more, body=body, "
        'backend_config={"known_trip_count":{"n":"3"}}\n'
        f" y = {A} get-tuple-element(loop), index=1\n ROOT z = {A} add(y, a)",
        body, more,
    )  # fmt: skip
    p = load(text)
    # Both parts of the state begin as `a`, which is used afterwards; `u` is read after `n` is made.
    assert p.instr_names == ("a", "loop.state", "loop.state#2", "n", "m", "loop.next", "z")
    assert p.instr_repeat.tolist() == [1, 1, 1, 3, 3, 3, 1]
    assert shares(p, "loop.next", "loop.state")
    assert shares(p, "m", "loop.state#2")
    assert not shares(p, "n", "loop.state")


TYPES = {
    "pred": 8, "u1": 1, "s1": 1, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "s8": 8, "u64": 64, "bf16": 16,
    "f16": 16, "f64": 64, "c64": 64, "c128": 128, "f4e2m1fn": 4, "f8e3m4": 8, "f8e4m3": 8,
    "f8e4m3fn": 8, "f8e4m3b11fnuz": 8, "f8e4m3fnuz": 8, "f8e5m2": 8, "f8e5m2fnuz": 8,
    "f8e8m0fnu": 8,
}  # fmt: skip


@pytest.mark.parametrize("item", TYPES)
def test_types_have_their_bits(item: str) -> None:
    p = load(module(f"x = {item}[40001]{{0}} parameter(0)\n ROOT y = f32[40001] convert(x)"))
    assert p.tensor_size.tolist() == [-(-40001 * TYPES[item] // 8), 4 * 40001]


def test_a_layout_may_say_how_many_bits_an_element_takes() -> None:
    p = load(module("x = s4[8192]{0:E(8)} parameter(0)\n ROOT y = f32[8192] convert(x)"))
    assert p.tensor_size[0] == 8192


EDITED = f"""HloModule edited, is_scheduled=true,
  entry_computation_layout={{({A})->{A}}}

// work of mine: f(x) = {{ x
ENTRY %main (x: f32[64,64],
             w: f32[64,64]) -> f32[64,64] {{
  %x = {A} parameter(0), metadata={{op_name="jit(f)/(a {{ // no comment"}}
  /* a note of mine,
     over two lines ) */
  %w = {A} constant({{
    {{ 1, 2, ... }},
    {{ 3, 4, ... }}
  }})
  %d = {A} dot(%x, %w), // the product
    lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
  ROOT %z = {A} negate(
      /*index=0*/ %d
  )
}}
"""


def test_instructions_may_go_on_over_lines_between_comments() -> None:
    p = load(EDITED)
    assert p.instr_names == ("d", "z")
    assert p.tensor_names == ("x", "w", "d", "z")
    assert p.instr_flops.tolist() == [2 * 64**3, 64**2]


def test_lines_may_break_after_the_name_or_the_shape() -> None:
    text = module(
        f"x =\n   {A} parameter(0)\n s = (({A}), {A},\n  s32[])\n   call-start(x),\n"
        f"   to_apply=work\n d = {A}\n  call-done(s),\n  metadata={{}}\n y = {A}\n   negate(d)\n"
        " ROOT t = tuple(y, d)",
        WORK,
    )
    p = load(text)
    assert p.instr_names == ("d", "t", "y")
    assert p.tensor_kind.tolist() == [ARG, TMP, OUT, OUT]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("%d = ", "%d ", "line 14: .* is no HLO instruction"),
        ("negate(", "negate", "line 16: .*no opcode"),
        ("f32[64,64]{1,0} negate", "f9[64,64]{1,0} negate", "line 16: .* no shape that is known"),
        ("%d\n", "%e\n", "line 16: %z .*operand 'e' is not made before it"),
    ],
)
def test_a_fault_in_edited_text_is_refused_by_its_line(old: str, new: str, why: str) -> None:
    with pytest.raises(InstanceError, match=why):
        load(EDITED.replace(old, new))


BROKEN = [
    (f"s = ({A}, {A}) all-gather-start(x)", "%s .*no instruction .* says that it is done"),
    (f"s = {A} all-gather-done(x)", "its start is not in its computation"),
    (f"s = ({A}, {A}) all-gather-start(x)\n d = {A} negate(s)\n e = {A} all-gather-done(s)",
     "%d .*takes %s before it is done"),
    (f"c = s32[] constant(0)\n d = {A} conditional(c, x), branch_computations={{work, work}}",
     "2 operands for 2 branches"),
    (f"d = {A} call(x), to_apply=again", "'again' contains itself"),
    ("d = f32[99999999,99999999] iota(), iota_dimension=0", "%d .*its result has .* bytes, more"),
    (f"d = {A} fusion(x), kind=kLoop, calls=again", "'again' contains itself"),
    (f"d = {A} fusion(x), kind=kLoop, calls=gone", "no computation 'gone'"),
    (f"d = {A} bitcast(d)", "%d .*operand 'd' is not made before it"),
    (f"d = {A} convolution(x, x), dim_labels=b01f_01io->b01f", "dim_labels that fit"),
    (f"d = f32[64,64,1,1] reshape(x)\n e = {A} convolution(d, d), window={{size=3}}, "
     "dim_labels=b01f_01io->b01f", "its window needs 2 dimensions in size"),
]  # fmt: skip


def test_computations_nested_beyond_reason_are_refused() -> None:
    chain = [f"f0: p = {A} parameter(0)\n ROOT r = {A} negate(p)"]
    for k in range(1, 1500):
        chain.append(f"f{k}: p = {A} parameter(0)\n ROOT r = {A} call(p), to_apply=f{k - 1}")
    with pytest.raises(InstanceError, match=r"m.txt: computations are nested too deep"):
        load(module(f"x = {A} parameter(0)\n ROOT y = {A} call(x), to_apply=f1499", *chain))


@pytest.mark.parametrize(("lines", "why"), BROKEN)
def test_what_cannot_be_is_refused(lines: str, why: str) -> None:
    again = f"again: p = {A} parameter(0)\n ROOT r = {A} call(p), to_apply=again"
    with pytest.raises(InstanceError, match=why) as refused:
        load(module(f"x = {A} parameter(0)\n {lines}\n ROOT y = {A} negate(x)", WORK, again))
    assert str(refused.value).startswith("m.txt: ")
