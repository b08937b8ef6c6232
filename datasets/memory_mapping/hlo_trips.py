"""How often a while loop of HLO runs: as its text says, or by its counter."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .hlo_module import Computation, HloInstr, Module, integer
from .hlo_values import flat_body, origin

_KNOWN = re.compile(r'known_trip_count"?\s*[:=]\s*{\s*"?n"?\s*[:=]\s*"?(\d+)')
FLIPPED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "NE": "NE", "EQ": "EQ"}


class Line(NamedTuple):
    """A whole number that depends on at most one part of a loop's state: offset + slope * part.

    Attributes:
        offset: the number where the part is 0.
        slope: 0 for a constant.
        path: path of the part in the state.
    """

    offset: int
    slope: int = 0
    path: tuple[int, ...] = ()


def trip_count(module: Module, around: Computation, loop: HloInstr) -> int | None:
    """Return how often a loop's body runs, None if the text does not tell.

    It tells by known_trip_count, or if the condition compares a counter that the body raises or
    lowers by a constant with a constant.

    Args:
        module: the module.
        around: the computation that the loop is in.
        loop: the while instruction.
    """
    known = _KNOWN.search(loop.attributes.replace("\\", ""))
    if known:
        return integer(known[1])
    condition = flat_body(module, loop.computation("condition"))
    name, _ = origin(condition, condition.root)
    test = condition.by_name.get(name)
    if test is None:
        return None
    if test.opcode == "constant":
        return 0 if test.literal.strip() in ("false", "0") else None
    direction = re.search(r"\bdirection=(\w\w)", test.attributes)
    if test.opcode != "compare" or direction is None or len(test.operands) != 2:
        return None
    left, right = (_line(condition, operand) for operand in test.operands)
    if left is None or right is None:
        return None
    way = direction[1]
    if right.slope:
        left, right, way = right, left, FLIPPED[way]
    if right.slope:
        return None
    if not left.slope:
        return None if _holds(left.offset - right.offset, way) else 0
    start, step = _counter(module, around, loop, left.path)
    if start is None or step is None:
        return None
    first = left.offset + left.slope * start - right.offset
    return _first_false(first, left.slope * step, way)


def _counter(
    module: Module, around: Computation, loop: HloInstr, path: tuple[int, ...]
) -> tuple[int | None, int | None]:
    """Return a counter's start and what a trip adds to it, None for what is not constant."""
    body = flat_body(module, loop.computation("body"))
    after = _line(body, body.root, path)
    before = _line(around, loop.operands[0], path)
    step = after.offset if after and after.slope == 1 and after.path == path else None
    start = before.offset if before and not before.slope else None
    return start, step


def _line(computation: Computation, name: str, path: tuple[int, ...] = ()) -> Line | None:
    """Return a value of a computation as a Line in its parameter, None if it is none."""
    name, path = origin(computation, name, path)
    instr = computation.by_name.get(name)
    if instr is None:
        return None
    if instr.opcode == "parameter":
        return Line(0, 1, path)
    if instr.opcode == "constant":
        text = instr.literal.strip().strip("{} ")
        return Line(integer(text)) if re.fullmatch(r"-?\d+", text) else None
    if instr.opcode in ("copy", "convert", "reshape", "fusion") and len(instr.operands) == 1:
        return _line(computation, instr.operands[0]) if instr.opcode != "fusion" else None
    joins: dict[str, Callable[[Line, Line], Line | None]] = {
        "add": _sum,
        "subtract": lambda a, b: _sum(a, Line(-b.offset, -b.slope, b.path)),
        "multiply": _product,
    }
    if instr.opcode not in joins or len(instr.operands) != 2:
        return None
    left, right = (_line(computation, operand) for operand in instr.operands)
    return joins[instr.opcode](left, right) if left and right else None


def _sum(left: Line, right: Line) -> Line | None:
    if left.slope and right.slope and left.path != right.path:
        return None
    path = left.path if left.slope else right.path
    return Line(left.offset + right.offset, left.slope + right.slope, path)


def _product(left: Line, right: Line) -> Line | None:
    if left.slope and right.slope:
        return None
    factor, line = (left.offset, right) if right.slope else (right.offset, left)
    return Line(line.offset * factor, line.slope * factor, line.path)


def _holds(difference: int, way: str) -> bool:
    return {
        "LT": difference < 0, "LE": difference <= 0, "GT": difference > 0,
        "GE": difference >= 0, "EQ": difference == 0, "NE": difference != 0,
    }[way]  # fmt: skip


def _first_false(first: int, step: int, way: str) -> int | None:
    """Return the least t at which first + t * step compared with 0 fails; None if there is none."""
    if not _holds(first, way):
        return 0
    if way == "EQ":
        return 1 if step else None
    if way == "NE":
        steps = -first // step if step and first % step == 0 else 0
        return steps if steps > 0 else None
    towards = 1 if way in ("LT", "LE") else -1  # the side on which the comparison fails
    if step * towards <= 0:
        return None
    gap = -first * towards + (0 if way in ("LT", "GT") else 1)  # at least this much must be added
    return -(-gap // abs(step))
