"""What an HLO module is made of: shapes, instructions and computations, as its text gives them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ...core.errors import InstanceError
from .effort import Effort

_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_WIDTHS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128, "token": 0, "opaque": 0}
_ITEM = re.compile(r"(?:[su]|f)(\d{1,3})(?:e\d+m\d+[a-z0-9]*)?")
_SUMS = ("width", "elements", "bytes")  # of a tuple's parts
LARGEST = 10**18  # stands for every larger number in a text


def integer(text: str) -> int:
    """Return a whole number of HLO text; LARGEST for larger ones, which no program can have.

    Args:
        text: decimal digits, perhaps after a minus sign.
    """
    digits = text.lstrip("-")
    size = LARGEST if len(digits) > len(str(LARGEST)) else min(int(digits), LARGEST)
    return -size if text.startswith("-") else size


def item_bits(item: str) -> int | None:
    """Return the bits of an element type such as "bf16" or "f8e4m3fn", None if it is unknown.

    Args:
        item: the type's name; types of fewer than 8 bits are packed.
    """
    if item in _WIDTHS:
        return _WIDTHS[item]
    match = _ITEM.fullmatch(item)
    bits = int(match[1]) if match else 0
    return bits if bits in (1, 2, 4, 6, 8, 16, 32, 64) else None


@dataclass(frozen=True, slots=True)
class Shape:
    """An array's element type and dimensions, or a tuple's parts.

    Attributes:
        item: element type such as "f32"; "" for a tuple.
        dims: size of each dimension.
        parts: shapes of a tuple's parts.
        space: memory it is in: 0 the device's, 1 its fast memory, 5 the host's.
        packed: bits of an element in memory; 0 for those of its type.
        width: number of arrays and tuples in it, itself included.
        elements: number of elements; for a tuple, of all its parts.
        bytes: number of bytes without padding; for a tuple, of all its parts.
    """

    item: str
    dims: tuple[int, ...] = ()
    parts: tuple[Shape, ...] = ()
    space: int = 0
    packed: int = 0
    width: int = field(init=False, repr=False, compare=False)
    elements: int = field(init=False, repr=False, compare=False)
    bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Kept, not computed when asked for: tuples of the same tuples have many parts.
        sums = [sum(getattr(part, of) for part in self.parts) for of in _SUMS]
        if self.item:
            sums = [0, math.prod(self.dims), self.bytes_of(math.prod(self.dims))]
        for of, total in zip(_SUMS, sums, strict=True):
            object.__setattr__(self, of, total + (of == "width"))

    def bytes_of(self, elements: int) -> int:
        """Return the bytes of some of an array's elements.

        Args:
            elements: how many.
        """
        return -(-elements * (self.packed or item_bits(self.item) or 0) // 8)

    def leaves(self) -> Iterator[tuple[tuple[int, ...], Shape]]:
        """Yield the path and the shape of each array in a tuple; an array alone has the path ()."""
        if self.item:
            yield (), self
        for number, part in enumerate(self.parts):
            for path, shape in part.leaves():
                yield (number, *path), shape


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
        literal: a constant's value as text, "" for other instructions.
    """

    place: str
    name: str
    shape: Shape
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    literal: str = ""

    def refuse(self, why: str) -> NoReturn:
        """Raise InstanceError naming file, line and instruction.

        Args:
            why: what is wrong, and what to do about it.
        """
        raise InstanceError(f"{self.place}: %{self.name} ({self.opcode}): {why}")

    @property
    def parameter(self) -> int:
        """Number of a parameter.

        Raises:
            InstanceError: it has none.
        """
        if len(self.operands) != 1 or not self.operands[0].isdecimal():
            self.refuse("a parameter needs its number")
        return integer(self.operands[0])

    def computation(self, key: str) -> str:
        """Return the computation named in an attribute such as calls=%f, "" if there is none.

        Args:
            key: name of the attribute.
        """
        match = re.search(rf"\b{key}=%?([\w.\-]+)", self.attributes)
        return match[1] if match else ""

    def computations(self, key: str) -> tuple[str, ...]:
        """Return the computations of an attribute such as branch_computations={%a, %b}.

        Args:
            key: name of the attribute.
        """
        match = re.search(rf"\b{key}={{([^}}]*)}}", self.attributes)
        return tuple(n.strip().lstrip("%") for n in match[1].split(",")) if match else ()

    def number(self, key: str, default: int) -> int:
        """Return the number of an attribute such as index=2.

        Args:
            key: name of the attribute.
            default: what it is where the attribute is missing.
        """
        match = re.search(rf"\b{key}=(\d+)", self.attributes)
        return integer(match[1]) if match else default

    @property
    def target(self) -> str:
        """Name of the function that a custom call calls; "" for other instructions."""
        match = re.search(r'\bcustom_call_target="([^"]*)"', self.attributes)
        return match[1] if match else ""

    @property
    def config(self) -> dict[str, Any]:
        """The backend's configuration; empty if there is none, or it is not JSON."""
        _, found, text = self.attributes.partition("backend_config=")
        if text.startswith('"'):  # older dumps quote it
            match = _STRING.match(text)
            text = json.loads(match[0]) if match else ""
        try:
            config = json.JSONDecoder().raw_decode(text)[0] if found else {}
        except (ValueError, RecursionError):
            config = {}
        return config if isinstance(config, dict) else {}

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return the numbers of an attribute such as lhs_contracting_dims={1,2}, () for none.

        Args:
            key: name of the attribute.
        """
        match = re.search(rf"\b{key}={{([\d,\s]*)}}", self.attributes)
        return tuple(map(integer, re.findall(r"\d+", match[1]))) if match else ()


@dataclass(slots=True)
class Computation:
    """A computation: instructions in the order of the text, which is the schedule if there is one.

    Attributes:
        name: its name.
        effort: steps spent on its module.
        instrs: the instructions, in order.
        by_name: name -> instruction.
        root: name of the instruction whose result is the computation's.
    """

    name: str
    effort: Effort
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
        effort: steps spent on it.
    """

    place: str
    header: str
    computations: dict[str, Computation]
    entry: Computation
    effort: Effort

    def __getitem__(self, name: str) -> Computation:
        if name not in self.computations:
            raise InstanceError(f"{self.place}: no computation {name!r}; the dump is incomplete")
        return self.computations[name]
