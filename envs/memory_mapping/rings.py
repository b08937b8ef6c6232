"""What the loops around a decision ask of it, compiled.

A decision d has a ring for each loop around its instruction, the outermost first: the rows
dec_ring[d] to dec_ring[d + 1] of `Static.rings`, which say what the loop does to the decision's
buffer. The dynamics call these functions for programs with loops alone; docs/memory_mapping.md has
the rules.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .static import (
    CARRIED,
    CHANGED,
    ENTRY,
    FIRST,
    L_FIRST,
    L_LAST,
    L_UP,
    TIME_BEFORE,
    UNTIL,
    Static,
)

NONE = -1


@njit(cache=True)
def entered(rings: np.ndarray, start: int, end: int, since: int) -> int:
    """The first of a decision's rings, rows start..end - 1, whose loop begins after instruction
    `since`, so the outermost such loop; NONE if there is none.
    """
    for ring in range(start, end):
        if rings[ring, FIRST] > since:
            return ring
    return NONE


@njit(cache=True)
def carrying(rings: np.ndarray, start: int, end: int, since: int) -> int:
    """The same ring, if its loop carries the buffer from trip to trip; NONE otherwise.

    What is in fast memory since then is held to that loop's end.
    """
    ring = entered(rings, start, end, since)
    return ring if ring != NONE and rings[ring, CARRIED] else NONE


@njit(cache=True)
def binding(rings: np.ndarray, start: int, end: int, since: int) -> int:
    """The same ring, if its loop carries and changes the buffer; NONE otherwise.

    In every trip of such a loop the buffer must be found where the first trip finds it.
    """
    ring = carrying(rings, start, end, since)
    return ring if ring != NONE and rings[ring, CHANGED] else NONE


@njit(cache=True)
def held_until(rings: np.ndarray, start: int, end: int, since: int, until: int) -> int:
    """The instruction up to which what is in fast memory since an instruction is held if the
    decision uses it, at least `until`.
    """
    ring = carrying(rings, start, end, since)
    return max(until, rings[ring, UNTIL]) if ring != NONE else until


@njit(cache=True)
def finds_slow(rings: np.ndarray, start: int, end: int, since: int) -> bool:
    """Whether the decision's buffer, in fast memory since an instruction, is in slow memory when a
    trip of a loop around both begins: what is written must be there, too, when the trip ends.
    """
    for ring in range(start, end):
        if rings[ring, CARRIED]:
            return bool(rings[ring, FIRST] <= since)
    return False


@njit(cache=True)
def first_place(rings: np.ndarray, start: int, end: int, d: int) -> int:
    """The ring of the outermost loop that decision d's copy may be made before, so of one whose
    trips all find the buffer as the first one does; `end` if it must be made in every execution.

    It may be made before the loops further inwards, too.
    """
    for ring in range(start, end):
        same = rings[ring, ENTRY] == d or not rings[ring, CHANGED]
        if same and rings[ring, CARRIED]:
            return ring
    return end


@njit(cache=True)
def first_copy(static: Static, d: int) -> tuple[int, int]:
    """The instruction that decision d's copy must end before where it is tried first, and the time
    that it takes in all, ps.
    """
    outer, own = static.dec_ring[d], static.dec_ring[d + 1]
    ring = first_place(static.rings, outer, own, d)
    if ring < own:
        return static.rings[ring, FIRST], static.rings[ring, TIME_BEFORE]
    return static.dec_instr[d], static.dec_copy[d]


@njit(cache=True)
def leave(instr_loop: np.ndarray, loop_rows: np.ndarray, instr: int, target: int) -> int:
    """The last instruction of the outermost loop around `instr` that ends before `target`; `instr`
    if there is none.
    """
    loop = instr_loop[instr]
    while loop != NONE and loop_rows[loop, L_LAST] < target:
        instr = loop_rows[loop, L_LAST]
        loop = loop_rows[loop, L_UP]
    return instr


@njit(cache=True)
def reach_back(instr_loop: np.ndarray, loop_rows: np.ndarray, instr: int, target: int) -> int:
    """The first instruction of the outermost loop around `instr` that ends before `target`; `instr`
    if there is none.
    """
    loop = instr_loop[instr]
    while loop != NONE and loop_rows[loop, L_LAST] < target:
        instr = loop_rows[loop, L_FIRST]
        loop = loop_rows[loop, L_UP]
    return instr
