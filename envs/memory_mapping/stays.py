"""What it is worth to keep a buffer in fast memory from one use to the next, and who else would
like the room.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .loads import add_to_peaks, add_to_sums, make_peaks, make_sums, peak_of, sum_of
from .rings import NONE, carrying, first_copy
from .static import CARRIED, ENTRY, FIRST, LAST, Static


class Stays(NamedTuple):
    """The stay in fast memory that ends with each decision: from the buffer's use before it, or
    from when its copy must start.

    Where a loop carries the buffer, the stay of its first use there is held to the loop's end and
    is worth what all uses in the loop are; those of the others take no more room.

    Attributes:
        start: int64 [D]; the instruction it starts with.
        last: int64 [D]; the instruction it ends with.
        density: float64 [D]; time saved per byte and instruction, ps.
    """

    start: np.ndarray
    last: np.ndarray
    density: np.ndarray


@njit(cache=True)
def benefits(static: Static) -> np.ndarray:
    """int64 [D]; time that each use alone in fast memory saves its instruction, ps."""
    saved = np.zeros(len(static.dec_instr), np.int64)
    for d in range(len(saved)):
        instr = static.dec_instr[d]
        slow, compute = static.instr_slow[instr], static.instr_compute[instr]
        after = slow - static.dec_slow[d] + static.dec_fast[d]
        saved[d] = max(compute, slow) - max(compute, after)
    return saved


@njit(cache=True)
def previous_uses(static: Static) -> np.ndarray:
    """int64 [D]; the buffer's decision before each, -1 for none."""
    count = len(static.dec_next)
    before = np.full(count, -1, np.int64)
    for d in range(count):
        if static.dec_next[d] < count:
            before[static.dec_next[d]] = d
    return before


@njit(cache=True)
def find_stays(static: Static) -> Stays:
    """Every decision's stay; a fast write before it belongs to it."""
    count = len(static.dec_instr)
    saves, before = benefits(static), previous_uses(static)
    start, last, density = np.full(count, -1), static.dec_instr.copy(), np.zeros(count)
    worth = saves.astype(np.float64)
    for d in range(count):
        outer, own = static.dec_ring[d], static.dec_ring[d + 1]
        if before[d] < 0 or outer == own:
            continue
        while outer < own and not static.rings[outer, CARRIED]:
            outer += 1
        if outer < own and static.rings[outer, FIRST] <= static.dec_instr[before[d]]:
            worth[static.rings[outer, ENTRY]] += saves[d]
            start[d] = static.dec_instr[d]
    for d in range(count):
        instr, size = static.dec_instr[d], static.buf_size[static.dec_buffer[d]]
        if static.dec_makes[d]:
            start[d] = instr
        elif start[d] < 0 and before[d] >= 0:
            start[d] = static.dec_instr[before[d]]
            if static.dec_writes[before[d]]:
                worth[d] += saves[before[d]]
        elif before[d] < 0:
            first, left = first_copy(static, d)
            while left > 0 and first > 0:
                first -= 1
                spare = max(static.instr_compute[first], static.instr_slow[first])
                left -= spare - static.instr_slow[first]
            start[d] = first
        if static.loops:
            since = -1 if static.dec_makes[d] else start[d]
            ring = carrying(static.rings, static.dec_ring[d], static.dec_ring[d + 1], since)
            if ring != NONE:
                start[d] = min(start[d], static.rings[ring, FIRST])
                last[d] = static.rings[ring, LAST]
        until = max(static.dec_until[d], last[d])
        density[d] = worth[d] / (size * (until - start[d] + 1))
    return Stays(start, last, density)


@njit(cache=True)
def knapsack(static: Static, stays: Stays) -> np.ndarray:
    """Choose wishes, int8 [D] (methods/memory_mapping/wishes.py), by filling fast memory with
    stays, the densest first.

    Only the sum of sizes is watched; where things go is left to the game.
    """
    before = previous_uses(static)
    load = make_peaks(len(static.instr_slow))
    wishes = np.zeros(len(before), np.int8)
    for d in np.argsort(-stays.density, kind="mergesort"):
        size = static.buf_size[static.dec_buffer[d]]
        first, last = stays.start[d], stays.last[d]
        if stays.density[d] > 0 and peak_of(load, first, last) + size <= static.capacity:
            add_to_peaks(load, first, last, size)
            wishes[d] = 1
            if before[d] >= 0 and static.dec_writes[before[d]]:
                wishes[before[d]] = 1
    return wishes


@njit(cache=True)
def crowding(static: Static, stays: Stays) -> np.ndarray:
    """float64 [D]; bytes that denser stays want at once during each stay, on average, as a part of
    fast memory.
    """
    load = make_sums(len(static.instr_slow))
    crowd = np.zeros(len(stays.start))
    for d in np.argsort(-stays.density, kind="mergesort"):
        first, last = stays.start[d], stays.last[d]
        crowd[d] = sum_of(load, first, last) / (last - first + 1) / static.capacity
        if stays.density[d] > 0:
            add_to_sums(load, first, last, static.buf_size[static.dec_buffer[d]])
    return crowd
