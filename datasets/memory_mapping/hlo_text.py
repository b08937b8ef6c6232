"""Parse XLA HLO text into computations, instructions and shapes, without interpreting them.

Reads what `--xla_dump_hlo_as_text` and `compiled.as_text()` write on CPU, GPU and TPU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from ...core.errors import InstanceError

ITEM_BITS = {
    "pred": 8, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16,
    "s32": 32, "u32": 32, "s64": 64, "u64": 64, "bf16": 16, "f16": 16, "f32": 32, "f64": 64,
    "c64": 64, "c128": 128, "f4e2m1fn": 4, "f8e5m2": 8, "f8e4m3": 8, "f8e4m3fn": 8, "f8e3m4": 8,
    "f8e4m3b11fnuz": 8, "f8e5m2fnuz": 8, "f8e4m3fnuz": 8, "f8e8m0fnu": 8, "token": 0, "opaque": 0,
}  # fmt: skip

_HEADER = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s*(\(.*\)\s*->.*)?\{$")
_INSTR = re.compile(r"^(ROOT\s+)?%?([\w.\-]+)\s+=\s+(.*)$")
_ARRAY = re.compile(r"([a-z]\w*)\[([^\]]*)\]")
_COMMENT = re.compile(r"/\*.*?\*/")
_OPENS, _CLOSES = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Shape:
    """An array's element type and dimensions, or a tuple's parts.

    Attributes:
        item: element type such as "f32"; "" for a tuple.
        dims: size of each dimension.
        parts: shapes of a tuple's parts.
    """

    item: str
    dims: tuple[int, ...] = ()
    parts: tuple[Shape, ...] = ()

    @property
    def elements(self) -> int:
        """Number of elements; for a tuple, of all its parts."""
        if not self.item:
            return sum(part.elements for part in self.parts)
        count = 1
        for extent in self.dims:
            count *= extent
        return count

    @property
    def bytes(self) -> int:
        """Number of bytes without padding; for a tuple, of all its parts."""
        if not self.item:
            return sum(part.bytes for part in self.parts)
        return -(-self.elements * ITEM_BITS[self.item] // 8)


@dataclass(frozen=True, slots=True)
class HloInstr:
    """One instruction.

    Attributes:
        place: file and line, for error messages.
        name: its name, without "%".
        shape: shape of its result.
        opcode: what it does, such as "dot".
        operands: names of operands; for a parameter, its number as text.
        attributes: the text after the operands.
    """

    place: str
    name: str
    shape: Shape
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    def refuse(self, why: str) -> NoReturn:
        """Raise InstanceError naming file, line and instruction.

        Args:
            why: what is wrong, and what to do about it.
        """
        raise InstanceError(f"{self.place}: %{self.name} ({self.opcode}): {why}")

    def computation(self, key: str) -> str:
        """Return the computation named in an attribute such as calls=%f, "" if there is none.

        Args:
            key: name of the attribute.
        """
        match = re.search(rf"\b{key}=%?([\w.\-]+)", self.attributes)
        return match[1] if match else ""

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return the numbers of an attribute such as lhs_contracting_dims={1,2}, () for none.

        Args:
            key: name of the attribute.
        """
        match = re.search(rf"\b{key}={{([\d,\s]*)}}", self.attributes)
        return tuple(int(n) for n in match[1].split(",") if n.strip()) if match else ()


@dataclass(slots=True)
class Computation:
    """A computation: instructions in the order of the text, which is the schedule if there is one.

    Attributes:
        name: its name.
        instrs: the instructions, in order.
        by_name: name -> instruction.
        root: name of the instruction whose result is the computation's.
    """

    name: str
    instrs: list[HloInstr] = field(default_factory=list)
    by_name: dict[str, HloInstr] = field(default_factory=dict)
    root: str = ""


@dataclass(slots=True)
class Module:
    """An HLO module.

    Attributes:
        place: the file, for error messages.
        header: its first line.
        computations: name -> computation.
        entry: the computation that runs first.
    """

    place: str
    header: str
    computations: dict[str, Computation]
    entry: Computation

    def __getitem__(self, name: str) -> Computation:
        if name not in self.computations:
            raise InstanceError(f"{self.place}: no computation {name!r}; the dump is incomplete")
        return self.computations[name]


def parse_module(place: str, text: str) -> Module:
    """Parse an HLO module.

    Args:
        place: the file, for error messages.
        text: HLO text.

    Raises:
        InstanceError: not HLO text, cut off, unscheduled, or with a dynamic shape; names the line.
    """
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("HloModule")), None)
    if start is None:
        raise InstanceError(f"{place}: no line starts with HloModule; this is no HLO text")
    header = _COMMENT.sub("", lines[start])
    if "is_scheduled=true" not in header:
        raise InstanceError(
            f"{place}: line {start + 1}: the module is not scheduled (is_scheduled=true is "
            "missing), so there is no program order; dump with --xla_dump_hlo_as_text and take the "
            "file ending in after_optimizations.txt, or `jit(f).lower(...).compile().as_text()`"
        )
    computations: dict[str, Computation] = {}
    entry: Computation | None = None
    current: Computation | None = None
    for number, raw in enumerate(lines[start + 1 :], start=start + 2):
        line = _COMMENT.sub("", raw).strip() if "/*" in raw else raw.strip()
        where = f"{place}: line {number}"
        if current is None:
            match = _HEADER.match(line) if line.endswith("{") else None
            if match:
                current = Computation(match[2])
                computations[current.name] = current
                if match[1]:
                    entry = current
        elif line == "}" or line.startswith("}, execution_thread"):
            if not current.root:
                raise InstanceError(f"{where}: computation {current.name!r} has no ROOT")
            current = None
        elif line:
            _add(current, where, line)
    if current is not None:
        raise InstanceError(
            f"{place}: ends within computation {current.name!r}; the file is cut off, copy it again"
        )
    if entry is None:
        raise InstanceError(f"{place}: no ENTRY computation; the dump is incomplete")
    return Module(place, header, computations, entry)


def _add(computation: Computation, where: str, line: str) -> None:
    match = _INSTR.match(line)
    if match is None:
        raise InstanceError(f"{where}: {line[:60]!r} is no HLO instruction; correct or copy again")
    shape_text, rest = _split_shape(match[3], where)
    opcode, opened, tail = rest.partition("(")
    end = _closing(tail) if opened else -1
    if end < 0 or not re.fullmatch(r"[a-z][\w\-]*", opcode.strip()):
        raise InstanceError(f"{where}: {line[:60]!r} has no opcode with operands; copy it again")
    opcode = opcode.strip()
    inside = tail[:end]
    if opcode == "constant":
        operands: tuple[str, ...] = ()
    else:
        operands = tuple(part.split()[-1].lstrip("%") for part in _split(inside))
    instr = HloInstr(where, match[2], _shape(shape_text, where), opcode, operands, tail[end + 1 :])
    if instr.name in computation.by_name:
        instr.refuse("the name stands twice in its computation")
    computation.instrs.append(instr)
    computation.by_name[instr.name] = instr
    if match[1]:
        computation.root = instr.name


def _split_shape(text: str, where: str) -> tuple[str, str]:
    """Split an instruction's right-hand side into the text of its shape and the rest."""
    if text.startswith("("):
        end = _closing(text[1:])
        if end < 0:
            raise InstanceError(f"{where}: a tuple's shape is not closed; copy the file again")
        return text[: end + 2], text[end + 2 :].lstrip()
    shape, _, rest = text.partition(" ")
    return shape, rest.lstrip()


def _closing(text: str) -> int:
    """Return where the bracket that was opened just before the text is closed; -1 if nowhere."""
    depth = 0
    for at, char in enumerate(text):
        if char in _OPENS:
            depth += 1
        elif char in _CLOSES:
            if depth == 0:
                return at
            depth -= 1
    return -1


def _split(text: str) -> list[str]:
    """Split at commas that no bracket encloses; empty parts are dropped."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in _OPENS) - (char in _CLOSES)
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


def _shape(text: str, where: str) -> Shape:
    if text.startswith("("):
        parts = _split(text[1:-1])
        return Shape("", parts=tuple(_shape(part.strip(), where) for part in parts))
    match = _ARRAY.match(text)
    if match is None or match[1] not in ITEM_BITS:
        raise InstanceError(f"{where}: {text[:40]!r} is no shape that is known")
    extents = [extent.strip() for extent in match[2].split(",") if extent.strip()]
    if any("<" in extent or "?" in extent for extent in extents):
        raise InstanceError(
            f"{where}: the shape {match[0]} is dynamic, so its size is unknown; compile for fixed "
            "shapes (pad to the bound)"
        )
    if not all(extent.isdecimal() for extent in extents):
        raise InstanceError(f"{where}: {match[0]!r} is no shape")
    return Shape(match[1], tuple(int(extent) for extent in extents))
