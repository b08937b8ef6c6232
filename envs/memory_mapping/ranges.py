"""Address ranges in fast memory over instructions: what is free, and since when.

A table `rects`, int64 [5, N], has two parts, so that searches stay short in long programs: at its
front the ranges that end at instruction `floor` or later, by rising offset; at its back the rest,
the last to end first. The floor follows the current instruction, and goes back where a search
needs to look further back. `counts`, int64 [3], holds the parts' lengths and the floor.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Rows of the table.
R_OFFSET, R_TOP, R_START, R_END, R_BUFFER = range(5)
# Columns of the counts.
N_LIVE, N_PAST, FLOOR = range(3)
KEPT = 24  # instructions that the front reaches back at least
LAG = 8  # instructions between sweeps
FEW = 64  # ranges that come to the front for one search, at most; for more, they stay
HUGE = 1 << 60


def all_ranges(rects: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64 [5, n]: the ranges of both parts, by rising offset."""
    parts = (rects[:, : counts[N_LIVE]], rects[:, rects.shape[1] - counts[N_PAST] :])
    both = np.concatenate(parts, axis=1)
    return both[:, np.lexsort((both[R_START], both[R_OFFSET]))]


@njit(cache=True)
def best_fit(rects: np.ndarray, counts: np.ndarray, since: int, size: int, capacity: int) -> int:
    """The offset of the smallest gap that is free from an instruction on; -1 where none fits.

    Every range so far starts at or before the instruction being decided, so whatever ends at
    `since` or later is in the way.
    """
    if since < counts[FLOOR]:
        first = rects.shape[1] - counts[N_PAST]
        if _past_from(rects, counts, since) - first > FEW:
            return int(_best_fit_far_back(rects, counts, since, size, capacity))
        _reach_back(rects, counts, since)
    best, best_gap, low = -1, HUGE, 0
    for k in range(counts[N_LIVE]):
        if rects[R_END, k] < since:
            continue
        gap = rects[R_OFFSET, k] - low
        if size <= gap < best_gap:
            best, best_gap = low, gap
        low = max(low, rects[R_TOP, k])
    gap = capacity - low
    if size <= gap < best_gap:
        best = low
    return best


@njit(cache=True)
def _past_from(rects: np.ndarray, counts: np.ndarray, end: int) -> int:
    """The first column of the back whose range ends before instruction `end`."""
    low, high = rects.shape[1] - counts[N_PAST], rects.shape[1]
    while low < high:
        middle = (low + high) // 2
        if rects[R_END, middle] >= end:
            low = middle + 1
        else:
            high = middle
    return int(low)


@njit(cache=True)
def _best_fit_far_back(
    rects: np.ndarray, counts: np.ndarray, since: int, size: int, capacity: int
) -> int:
    """`best_fit` before the floor, with the ranges left where they are.

    The last to end are looked at first, as they mostly leave no gap already.
    """
    live, first = counts[N_LIVE], rects.shape[1] - counts[N_PAST]
    there = _past_from(rects, counts, since) - first
    taken = min(FEW, there)
    while True:
        offsets = np.concatenate((rects[R_OFFSET, :live], rects[R_OFFSET, first : first + taken]))
        tops = np.concatenate((rects[R_TOP, :live], rects[R_TOP, first : first + taken]))
        found, smallest, low = -1, HUGE, 0
        for k in np.argsort(offsets):
            gap = offsets[k] - low
            if size <= gap < smallest:
                found, smallest = low, gap
            low = max(low, tops[k])
        if size <= capacity - low < smallest:
            found = low
        if found < 0 or taken == there:
            return int(found)
        taken = min(4 * taken, there)


@njit(cache=True)
def stays_free(
    rects: np.ndarray, counts: np.ndarray, offset: int, size: int, after: int, until: int
) -> bool:
    """Whether an address range held until `after` can be held until `until`."""
    top = offset + size
    for k in range(counts[N_LIVE]):
        if rects[R_OFFSET, k] >= top:
            break
        if rects[R_END, k] > after and rects[R_TOP, k] > offset and rects[R_START, k] <= until:
            return False
    for k in range(rects.shape[1] - counts[N_PAST], rects.shape[1]):
        if rects[R_END, k] <= after:
            break
        if rects[R_OFFSET, k] < top and rects[R_TOP, k] > offset and rects[R_START, k] <= until:
            return False
    return True


@njit(cache=True)
def hold(rects: np.ndarray, counts: np.ndarray, buffer: int, was: int, end: int) -> None:
    """Changes the last instruction that the buffer's range, held until `was`, is held for."""
    for k in range(counts[N_LIVE]):
        if rects[R_BUFFER, k] == buffer and rects[R_END, k] == was:
            rects[R_END, k] = end
            return
    first = rects.shape[1] - counts[N_PAST]
    for k in range(_past_from(rects, counts, was + 1), rects.shape[1]):
        if rects[R_BUFFER, k] == buffer and rects[R_END, k] == was:
            offset, top, start = rects[R_OFFSET, k], rects[R_TOP, k], rects[R_START, k]
            for hole in range(k, first, -1):
                _move(rects, hole - 1, hole)
            counts[N_PAST] -= 1
            _insert(rects, counts, offset, top, start, end, buffer)
            return


@njit(cache=True)
def place(
    rects: np.ndarray,
    counts: np.ndarray,
    offset: int,
    top: int,
    start: int,
    end: int,
    buffer: int,
    now: int,
) -> None:
    """Enters the range of addresses offset..top, held from instruction `start` to `end`; `now` is
    the instruction being decided.
    """
    if now - KEPT >= counts[FLOOR] + LAG:
        _sweep(rects, counts, now - KEPT)
    _insert(rects, counts, offset, top, start, end, buffer)


@njit(cache=True, inline="always")
def _move(rects: np.ndarray, source: int, target: int) -> None:
    for row in range(5):
        rects[row, target] = rects[row, source]


@njit(cache=True)
def _insert(
    rects: np.ndarray, counts: np.ndarray, offset: int, top: int, start: int, end: int, buffer: int
) -> None:
    """Enters a range at the front."""
    k = counts[N_LIVE]
    while k > 0 and rects[R_OFFSET, k - 1] > offset:
        _move(rects, k - 1, k)
        k -= 1
    rects[R_OFFSET, k] = offset
    rects[R_TOP, k] = top
    rects[R_START, k] = start
    rects[R_END, k] = end
    rects[R_BUFFER, k] = buffer
    counts[N_LIVE] += 1


@njit(cache=True)
def _sweep(rects: np.ndarray, counts: np.ndarray, floor: int) -> None:
    """Raises the floor: what ended before it goes to the back."""
    kept, width = 0, rects.shape[1]
    front = rects[:, : counts[N_LIVE]].copy()  # the back may grow over it
    for k in range(front.shape[1]):
        offset, top, start = front[R_OFFSET, k], front[R_TOP, k], front[R_START, k]
        end, buffer = front[R_END, k], front[R_BUFFER, k]
        hole = kept
        if end >= floor:
            kept += 1
        else:
            hole = width - counts[N_PAST] - 1
            while hole + 1 < width and rects[R_END, hole + 1] > end:
                _move(rects, hole + 1, hole)
                hole += 1
            counts[N_PAST] += 1
        rects[R_OFFSET, hole] = offset
        rects[R_TOP, hole] = top
        rects[R_START, hole] = start
        rects[R_END, hole] = end
        rects[R_BUFFER, hole] = buffer
    counts[N_LIVE] = kept
    counts[FLOOR] = floor


@njit(cache=True)
def _reach_back(rects: np.ndarray, counts: np.ndarray, floor: int) -> None:
    """Lowers the floor: what ends at it or later comes to the front."""
    first, width = rects.shape[1] - counts[N_PAST], rects.shape[1]
    while first < width and rects[R_END, first] >= floor:
        counts[N_PAST] -= 1
        _insert(
            rects,
            counts,
            rects[R_OFFSET, first],
            rects[R_TOP, first],
            rects[R_START, first],
            rects[R_END, first],
            rects[R_BUFFER, first],
        )
        first += 1
    counts[FLOOR] = floor
