"""Random HLO modules load to programs whose totals are those that their writer counted, and damaged
ones are refused with their line or read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

import pytest
from hlo_modules import load
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.memory_mapping.hardware import load_hardware
from sysopt_gym.datasets.memory_mapping.instance import Program

SIDE = 64
FULL, ROW = f"f32[{SIDE},{SIDE}]{{1,0}}", f"f32[8,{SIDE}]{{1,0}}"
ELEMENTS, ROWS = SIDE * SIDE, 8 * SIDE
BYTES, ROW_BYTES = 4 * ELEMENTS, 4 * ROWS
MACHINE = load_hardware("tpu-like")


@dataclass
class Count:
    """What one execution of some instructions costs."""

    flops: float = 0.0
    read: int = 0
    written: int = 0
    seconds: float = 0.0
    instrs: int = 0

    def add(self, flops: float, read: int, written: int) -> None:
        """Add one instruction."""
        self.flops += flops
        self.read += read
        self.written += written
        moved = read + written
        self.seconds += max(flops / MACHINE.flops, moved / MACHINE.slow_bw)
        self.instrs += 1

    def times(self, other: Count, trips: int = 1) -> None:
        """Add a body that runs some times."""
        self.flops += trips * other.flops
        self.read += trips * other.read
        self.written += trips * other.written
        self.seconds += trips * other.seconds
        self.instrs += other.instrs * (trips > 0)


@dataclass
class Writer:
    """Writes a module of random instructions, and counts them."""

    rng: Random
    computations: list[str] = field(default_factory=list)
    names: int = 0
    fast: set[str] = field(default_factory=set)

    def name(self) -> str:
        """Return a new name."""
        self.names += 1
        return f"v.{self.names}"

    def sigil(self, name: str) -> str:
        """Return a name with or without "%"."""
        return f"%{name}" if self.rng.random() < 0.5 else name

    def line(self, name: str, shape: str, opcode: str, operands: list[str], more: str = "") -> str:
        """Return an instruction's text in one of the forms of the format."""
        shown = [self.sigil(operand) for operand in operands]
        if self.rng.random() < 0.3:
            shown = [f"{FULL} {o}" if "s32" not in more else o for o in shown]
        comma = self.rng.choice([", ", ",", ",\n    ", ", /*index=1*/", ", // more\n  "])
        text = f"{self.sigil(name)} = {shape} {opcode}({comma.join(shown)})"
        text += f"{comma if self.rng.random() < 0.3 else ', '}{more}" if more else ""
        if self.rng.random() < 0.3:
            text += ', metadata={op_name="jit(f)/{a, (b" source_line=3}'
        return text

    def body(self, depth: int, size: int) -> tuple[str, Count]:
        """Write a computation of one array to one array; return its name and what it costs."""
        own, parameter = self.name(), self.name()
        lines = [f"  {self.sigil(parameter)} = {FULL} parameter(0)"]
        count = Count()
        values = [parameter]
        for _ in range(size):
            values.append(self.step(lines, values, count, depth))
        result = self.name()
        lines.append("  ROOT " + self.line(result, FULL, "add", [values[-1], values[0]]))
        count.add(ELEMENTS, 2 * BYTES, BYTES)
        self.computations.append(f"{self.sigil(own)} {{\n" + "\n".join(lines) + "\n}\n")
        return own, count

    def step(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        """Write some instructions that make a value."""
        kinds = ["unary", "binary", "dot", "forward", "prefetch", "element", "reduced", "fusion",
                 "picked", "update", "kept", "collective", "host"]  # fmt: skip
        if depth:
            kinds += ["call", "branch", "loop", "started"] * 2
        kind = self.rng.choice(kinds)
        result: str = getattr(self, f"_{kind}")(lines, values, count, depth)
        return result

    def _put(self, lines: list[str], shape: str, opcode: str, operands: list[str],
             more: str = "") -> str:  # fmt: skip
        name = self.name()
        lines.append("  " + self.line(name, shape, opcode, operands, more))
        return name

    def _unary(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        count.add(ELEMENTS, BYTES, BYTES)
        opcode = self.rng.choice(["negate", "tanh", "exponential", "abs"])
        return self._put(lines, FULL, opcode, [self.rng.choice(values)])

    def _binary(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        count.add(ELEMENTS, 2 * BYTES, BYTES)
        opcode = self.rng.choice(["add", "multiply", "maximum"])
        return self._put(lines, FULL, opcode, self.rng.choices(values, k=2))

    def _dot(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        count.add(2 * SIDE**3, 2 * BYTES, BYTES)
        axes = "lhs_contracting_dims={1}, rhs_contracting_dims={0}"
        return self._put(lines, FULL, "dot", self.rng.choices(values, k=2), axes)

    def _forward(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        opcode = self.rng.choice(["bitcast", "opt-barrier", "domain"])
        return self._put(lines, FULL, opcode, [self.rng.choice(values)])

    def _prefetch(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        source, start = self.rng.choice(values), self.name()
        fast = FULL[:-1] + ":T(8,128)S(1)}"
        before, after = (fast, FULL) if source in self.fast else (FULL, fast)
        lines.append(f"  {start} = ({after}, {before}, u32[]) copy-start({source})")
        name = self._put(lines, after, "copy-done", [start])
        self.fast |= {name} if after is fast else set()
        return name

    def _element(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        pair = self.name()
        lines.append(
            f"  {pair} = ({FULL}, {FULL}) tuple({', '.join(self.rng.choices(values, k=2))})"
        )
        name = self.name()
        lines.append(f"  {name} = {FULL} get-tuple-element({pair}), index={self.rng.randrange(2)}")
        return name

    def _reduced(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        plus, zero, total = (self.name() for _ in range(3))
        self.computations.append(
            f"{plus} {{\n a = f32[] parameter(0)\n b = f32[] parameter(1)\n "
            "ROOT c = f32[] add(a, b)\n}\n"
        )
        lines.append(f"  {zero} = f32[] constant(0)")
        lines.append(
            f"  {total} = f32[{SIDE}]{{0}} reduce({self.rng.choice(values)}, {zero}), "
            f"dimensions={{1}}, to_apply={plus}"
        )
        count.add(ELEMENTS - SIDE, BYTES + 4, 4 * SIDE)
        count.add(0, 4 * SIDE, BYTES)
        return self._put(lines, FULL, "broadcast", [total], "dimensions={0}, s32=1")

    def _fusion(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        own, parameter = self.name(), self.name()
        inner = [f" {parameter} = {FULL} parameter(0)"]
        at, steps = parameter, self.rng.randint(1, 4)
        for _ in range(steps):
            inner.append(" " + self.line(after := self.name(), FULL, "multiply", [at, parameter]))
            at = after
        inner[-1] = " ROOT " + inner[-1].strip()
        self.computations.append(f"{own} {{\n" + "\n".join(inner) + "\n}\n")
        count.add(steps * ELEMENTS, BYTES, BYTES)
        return self._put(
            lines, FULL, "fusion", [self.rng.choice(values)], f"kind=kLoop, calls={own}"
        )

    def _picked(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        own, index = self.name(), self.name()
        before = self.rng.choice([f"q = {FULL} bitcast(p)", f"q = {FULL} tanh(p)"])
        self.computations.append(
            f"{own} {{\n p = {FULL} parameter(0)\n i = s32[] parameter(1)\n {before}\n"
            f" s = {ROW} dynamic-slice(q, i, i), dynamic_slice_sizes={{8,{SIDE}}}\n"
            f" z = f32[] constant(0)\n ROOT r = {FULL} pad(s, z), padding=0_{SIDE - 8}x0_0\n}}\n"
        )
        lines.append(f"  {index} = s32[] constant(1)")
        count.add(ELEMENTS if "tanh" in before else 0, ROW_BYTES + 4, BYTES)
        return self._put(lines, FULL, "fusion", [self.rng.choice(values), index],
                         f"kind=kLoop, calls={own}, s32=1")  # fmt: skip

    def _row(self, lines: list[str], values: list[str], count: Count) -> tuple[str, str]:
        index = self.name()
        lines.append(f"  {index} = s32[] constant(2)")
        count.add(0, ROW_BYTES + 8, ROW_BYTES)
        row = self._put(lines, ROW, "dynamic-slice", [self.rng.choice(values), index, index],
                        f"dynamic_slice_sizes={{8,{SIDE}}}, s32=1")  # fmt: skip
        return row, index

    def _update(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        row, index = self._row(lines, values, count)
        target = self._unary(lines, values, count, depth)  # nothing else will use it
        count.add(0, ROW_BYTES + 8, ROW_BYTES)
        return self._put(lines, FULL, "dynamic-update-slice", [target, row, index, index], "s32=1")

    def _kept(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        row, index = self._row(lines, values, count)
        target = self._unary(lines, values, count, depth)
        count.add(0, BYTES - ROW_BYTES + ROW_BYTES + 8, BYTES)
        new = self._put(lines, FULL, "dynamic-update-slice", [target, row, index, index], "s32=1")
        count.add(ELEMENTS, 2 * BYTES, BYTES)
        return self._put(lines, FULL, "add", [new, target])

    def _collective(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        count.add(0, BYTES, BYTES)
        operand = self.rng.choice(values)
        if self.rng.random() < 0.5:
            return self._put(lines, FULL, "collective-permute", [operand])
        start = self.name()
        lines.append(f"  {start} = ({FULL}, {FULL}) collective-permute-start({operand})")
        return self._put(lines, FULL, "collective-permute-done", [start])

    def _host(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        host = FULL[:-1] + ":S(5)}"
        out, there, back = (self.name() for _ in range(3))
        lines.append(f"  {out} = ({host}, {FULL}, u32[]) copy-start({self.rng.choice(values)})")
        lines.append(f"  {there} = {host} copy-done({out})")
        lines.append(f"  {back} = ({FULL}, {host}, u32[]) copy-start({there})")
        count.add(0, BYTES, BYTES)
        count.add(0, BYTES, BYTES)
        return self._put(lines, FULL, "copy-done", [back])

    def _call(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        own, inside = self.body(depth - 1, self.rng.randint(0, 2))
        count.times(inside)
        return self._put(lines, FULL, "call", [self.rng.choice(values)], f"to_apply={own}")

    def _started(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        own, inside = self.body(depth - 1, self.rng.randint(0, 2))
        count.times(inside)
        start, operand = self.name(), self.rng.choice(values)
        kind, key = self.rng.choice([("call", "to_apply"), ("async", "calls")])
        lines.append(f"  {start} = (({FULL}), {FULL}, s32[]) {kind}-start({operand}), {key}={own}")
        return self._put(lines, FULL, f"{kind}-done", [start])

    def _branch(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        bodies = [self.body(depth - 1, size) for size in self.rng.sample(range(4), 2)]
        taken = max((inside for _, inside in bodies), key=lambda inside: inside.seconds)
        count.times(taken)
        index, operand = self.name(), self.rng.choice(values)
        first, second = bodies[0][0], bodies[1][0]
        if self.rng.random() < 0.5:
            lines.append(f"  {index} = pred[] constant(true)")
            more = f"true_computation={first}, false_computation={second}, s32=1"
        else:
            lines.append(f"  {index} = s32[] constant(0)")
            more = f"branch_computations={{%{first}, {second}}}, s32=1"
        return self._put(lines, FULL, "conditional", [index, operand, operand], more)

    def _loop(self, lines: list[str], values: list[str], count: Count, depth: int) -> str:
        trips = self.rng.choice([0, 1, 2, 7, 1000])
        own, inside = self.body(depth - 1, self.rng.randint(0, 2))
        body, more, zero, copied, start, loop = (self.name() for _ in range(6))
        state = f"(s32[], {FULL})"
        known = self.rng.random() < 0.5
        self.computations += [
            f"{body} {{\n s = {state} parameter(0)\n i = s32[] get-tuple-element(s), index=0\n"
            f" h = {FULL} get-tuple-element(s), index=1\n one = s32[] constant(1)\n"
            f" j = s32[] add(i, one)\n g = {FULL} call(h), to_apply={own}\n"
            f" ROOT o = {state} tuple(j, g)\n}}\n",
            f"{more} {{\n s = {state} parameter(0)\n i = s32[] get-tuple-element(s), index=0\n"
            f" n = s32[] constant({99 if known else trips})\n"
            " ROOT l = pred[] compare(i, n), direction=LT\n}\n",
        ]
        once = Count()
        once.times(inside)
        once.add(1, 8, 4)
        count.add(0, BYTES, BYTES)
        count.times(once, trips)
        lines.append(f"  {zero} = s32[] constant(0)")
        lines.append(f"  {copied} = {FULL} copy({self.rng.choice(values)})")
        lines.append(f"  {start} = {state} tuple({zero}, {copied})")
        config = f', backend_config={{"known_trip_count":{{"n":"{trips}"}}}}' if known else ""
        lines.append(f"  {loop} = {state} while({start}), condition={more}, body={body}{config}")
        return self._put(lines, FULL, "get-tuple-element", [loop], "index=1, s32=1")


def write(seed: int) -> tuple[str, Count]:
    """Write a random module; return its text and what it costs."""
    writer = Writer(Random(seed))
    own, count = writer.body(2, writer.rng.randint(1, 6))
    *others, entry = writer.computations
    entry = "ENTRY " + entry
    del own
    return "HloModule m, is_scheduled=true\n\n" + "\n".join([*others, entry]), count


def totals(p: Program) -> tuple[float, int, int]:
    repeats = p.instr_repeat
    read = written = 0
    for row in range(p.n_instrs):
        for op in range(int(p.op_start[row]), int(p.op_start[row + 1])):
            amount = int(p.op_bytes[op]) * int(repeats[row])
            read += amount * (not p.op_write[op])
            written += amount * bool(p.op_write[op])
    return float((p.instr_flops * repeats).sum()), read, written


@given(st.integers(0, 2**32))
def test_totals_are_those_that_the_writer_counted(seed: int) -> None:
    text, count = write(seed)
    p = load(text)
    assert totals(p) == (pytest.approx(count.flops, rel=1e-12), count.read, count.written)


@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_damaged_text_is_read_or_refused_with_its_place(seed: int, rng: Random) -> None:
    text, _ = write(seed)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text))
        change = rng.choice(["cut", "drop", "swap", "line"])
        if change == "cut":
            text = text[: max(40, at)]
        elif change == "drop":
            text = text[:at] + text[at + rng.randint(1, 8) :]
        elif change == "swap":
            text = text[:at] + rng.choice('%(){}[],=9x"/\n') + text[at + 1 :]
        else:
            lines = text.splitlines()
            del lines[rng.randrange(len(lines))]
            text = "\n".join(lines)
        if not text:
            return
    try:
        load(text)
    except InstanceError as error:
        assert re.match(r"m(\.txt)?: ", str(error))
