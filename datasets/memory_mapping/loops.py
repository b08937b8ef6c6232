"""Loops of a program: instructions that are executed several times, and what their trips carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from ...core.errors import InstanceError

MOST_NESTED = 64  # loops around one instruction
MAX_REPEAT = 10**9  # executions of an instruction, all loops around it together


class Loop(NamedTuple):
    """The body first..last (instructions), executed `trips` times each time it is reached."""

    first: int
    last: int
    trips: int


def loops_of_repeats(repeats: Sequence[int]) -> list[Loop]:
    """Return loops that execute each instruction a given number of times, outer ones first.

    Neighbors that are executed more than once are one loop of the least of their numbers, if that
    divides all of them; what is left of larger numbers are loops inside it. Where the least does
    not divide a number, the loop ends.

    Args:
        repeats: executions of each instruction, 1 or more.

    Raises:
        InstanceError: more than MOST_NESTED numbers, none of which divides the next.
    """
    found: list[Loop] = []
    _find_loops(repeats, 0, found, 0)
    return found


def _find_loops(repeats: Sequence[int], start: int, found: list[Loop], depth: int) -> None:
    """Append the loops of neighboring instructions, the first of which is `start`."""
    if depth > MOST_NESTED:
        raise InstanceError(
            "the numbers of times that instructions are executed are of no loops; state the loops"
        )
    for looped, run in groupby(enumerate(repeats, start), lambda one: one[1] > 1):
        if not looped:
            continue
        body = list(run)
        rows, counts = zip(*body, strict=True)
        trips = min(counts)
        if all(count % trips == 0 for count in counts):
            found.append(Loop(rows[0], rows[-1], trips))
            _find_loops([count // trips for count in counts], rows[0], found, depth + 1)
            continue
        divided = [count % trips == 0 for count in counts]
        for _, part in groupby(range(len(body)), divided.__getitem__):
            inner = list(part)
            _find_loops([counts[row] for row in inner], rows[inner[0]], found, depth + 1)


def loop_fault(loops: Iterable[Loop]) -> str:
    """Return why loops are impossible together; empty if they are possible.

    Args:
        loops: the loops in order of their first instructions, outer ones before inner ones.
    """
    around: list[tuple[int, Loop, int]] = []  # row, loop and executions of the loops around
    before = 0
    for row, loop in enumerate(loops):
        body = f"loop {row}, instructions {loop.first} to {loop.last},"
        if loop.last < loop.first:
            return f"{body} is empty; leave it out"
        if loop.first < before:
            return f"{body} begins before loop {row - 1}; sort loops by their first instructions"
        before = loop.first
        while around and loop.first > around[-1][1].last:
            around.pop()
        executions = loop.trips
        if around:
            number, outer, times = around[-1]
            other = f"loop {number}, instructions {outer.first} to {outer.last}"
            if loop[:2] == outer[:2]:
                return f"{body} is all of {other}; make them one loop of all their trips"
            if loop.last > outer.last:
                return f"{body} and {other}, overlap; nest them (outer first) or keep them apart"
            executions *= times
        if len(around) >= MOST_NESTED:
            return f"{body} is inside {len(around)} others; nest {MOST_NESTED} at most"
        if executions > MAX_REPEAT:
            return (
                f"{body} is executed {executions} times in all, more than {MAX_REPEAT}; lower its "
                "trips"
            )
        around.append((row, loop, executions))
    return ""


def parents(loops: Sequence[Loop]) -> list[int]:
    """Return the innermost loop around each loop, -1 for none.

    Args:
        loops: loops without a fault (see `loop_fault`).
    """
    around: list[int] = []
    found = []
    for row, loop in enumerate(loops):
        while around and loops[around[-1]].last < loop.first:
            around.pop()
        found.append(around[-1] if around else -1)
        around.append(row)
    return found


def innermost(loops: Sequence[Loop], instrs: int) -> list[int]:
    """Return the innermost loop around each instruction, -1 for none.

    Args:
        loops: loops without a fault.
        instrs: number of instructions.
    """
    found = [-1] * instrs
    for row, loop in enumerate(loops):  # inner loops come after outer ones
        found[loop.first : loop.last + 1] = [row] * (loop.last + 1 - loop.first)
    return found


class Visit(NamedTuple):
    """What a loop's body does to a buffer in each trip.

    Attributes:
        entry: the body's first access to the buffer.
        carried: whether the entry finds what was there before the trip: the loop's body does not
            begin by writing all of the buffer without reading it.
        changed: whether the body writes the buffer.
    """

    entry: int
    carried: bool
    changed: bool


def visits(
    loops: Sequence[Loop],
    instrs: Sequence[int],
    buffers: Sequence[int],
    writes: Sequence[bool],
    replaces: Sequence[bool],
) -> dict[tuple[int, int], Visit]:
    """Return what each loop does to each buffer that its body uses, by (loop, buffer).

    Args:
        loops: loops without a fault.
        instrs: instruction of each access, ascending.
        buffers: buffer of each access.
        writes: whether each access writes.
        replaces: whether each access writes all of the buffer without reading it.
    """
    found: dict[tuple[int, int], Visit] = {}
    if not loops:
        return found
    inner, outer = innermost(loops, max(instrs, default=0) + 1), parents(loops)
    for access, (instr, buffer) in enumerate(zip(instrs, buffers, strict=True)):
        loop = inner[instr]
        while loop >= 0:
            visit = found.get((loop, buffer), Visit(access, not replaces[access], False))
            found[loop, buffer] = visit._replace(changed=visit.changed or bool(writes[access]))
            loop = outer[loop]
    return found
