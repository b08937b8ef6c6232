"""Memory-space assignment (MSA) like XLA's: which uses should be in fast memory.

Values go by priority, prefetches by an interval picker, in one greedy pass. After openxla/xla,
xla/service/memory_space_assignment (options, cost_analysis, prefetch_interval_picker, algorithm),
simplified: no cross-program prefetches, no repacking, one retry. It plans on the all-slow times,
out of program order; where the game's rules do not allow a planned use, it is in slow memory. As in
XLA, what a loop carries is in fast memory throughout it, or copied in before it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import RESERVE, Static
from ...envs.memory_mapping.rings import NONE, carrying
from ...envs.memory_mapping.static import FIRST, LAST, TIME_BEFORE
from .chunks import Chunks, best_fit, give_back, has_bytes, hold_until, is_free, make_chunks, take

# Ratios of XLA's test fixtures; those of its backends are not published.
R_MIN, R_PREFERRED, R_MAX = 0.8, 1.5, 10.0
MOST_EARLIER = 100  # starts tried before the preferred one, about
VALUES_A_LOOK = 64  # values placed between two looks at the clock


class Plan(NamedTuple):
    """The assignment so far.

    Attributes:
        elapsed: int64 [I+1]; all-slow time before each instruction, ps.
        prefetch, evict: int64 [I]; slow memory's free time left to either kind of copy, ps. XLA
            keeps a pool for each.
        longest: the longest time that a value may stay or a prefetch may take, ps.
        wishes: int8 [D]; 1 for uses in fast memory.
        chunks: addresses taken.
    """

    elapsed: np.ndarray
    prefetch: np.ndarray
    evict: np.ndarray
    longest: int
    wishes: np.ndarray
    chunks: Chunks


def assign(static: Static, clock: Clock, seconds: float = np.inf) -> np.ndarray:
    """Choose the uses to put in fast memory, by MSA's greedy pass over the values.

    Args:
        static: the program.
        clock: ends the assignment; values not yet treated stay in slow memory.
        seconds: seconds after which the assignment ends, too.

    Returns:
        Wishes, int8 [D]; 1 for fast memory.
    """
    until, count = clock.elapsed + seconds, len(static.dec_instr)
    if clock.expired or not count:
        return np.zeros(count, np.int8)
    plan, firsts = make_plan(static), by_priority(static)
    for begin in range(0, len(firsts), VALUES_A_LOOK):
        if clock.expired or clock.elapsed > until:
            break
        place_values(static, plan, firsts[begin : begin + VALUES_A_LOOK])
    return plan.wishes


def make_plan(static: Static) -> Plan:
    """Return the assignment of a program in which nothing is assigned."""
    times, count = np.maximum(static.instr_compute, static.instr_slow), len(static.dec_instr)
    return Plan(
        elapsed=np.concatenate([[0], np.cumsum(times)]),
        prefetch=times.copy(),
        evict=times.copy(),
        longest=_longest(static),
        wishes=np.zeros(count, np.int8),
        chunks=make_chunks(len(times), count),
    )


def by_priority(static: Static) -> np.ndarray:
    """Sort values by memory boundedness (XLA's cost_analysis), then by size, largest first.

    A use's boundedness is the time that fast memory saves it; if its instruction is bound by
    compute, it is slow memory's time less the compute time, which is negative. A value's is the
    sum of its uses' positive ones, or else the largest, over the root of its size.

    Args:
        static: the program.

    Returns:
        The first decision of each buffer, int64 [B], the highest priority first.
    """
    buffer, count = static.dec_buffer, len(static.buf_size)
    bound = (static.instr_slow - static.instr_compute)[static.dec_instr].astype(np.float64)
    bound = np.where(bound > 0, static.dec_slow - static.dec_fast, bound)
    largest = np.full(count, -np.inf)
    np.maximum.at(largest, buffer, bound)
    total = np.bincount(buffer, np.maximum(bound, 0.0), count)
    worth = np.where(largest > 0, total, largest) / np.sqrt(static.buf_size)
    first = np.full(count, len(buffer))
    np.minimum.at(first, buffer, np.arange(len(buffer)))
    order: np.ndarray = first[np.lexsort((first, -static.buf_size, -worth))]
    return order


def _longest(static: Static) -> int:
    """Return the longest time that a value may stay or a prefetch may take, ps."""
    a_byte = static.buf_copy.max() / max(1, int(static.buf_size[static.buf_copy.argmax()]))
    return int(R_MAX * a_byte * static.capacity)


@njit(cache=True)
def place_values(static: Static, plan: Plan, firsts: np.ndarray) -> None:
    """Assign the uses of values.

    Args:
        static: the program.
        plan: changed in place.
        firsts: int64 [n]; the first decision of each value.
    """
    static, plan = borrow(static), borrow(plan)
    for first in firsts:
        _place_value(static, plan, first)


@njit(cache=True)
def _between(plan: Plan, start: int, end: int) -> int:
    """Return the all-slow time strictly between two instructions, ps."""
    return int(plan.elapsed[end] - plan.elapsed[min(start + 1, end)])


@njit(cache=True)
def _place_value(static: Static, plan: Plan, first: int) -> None:
    """Assign one value's uses: stay in fast memory, else prefetch, else use slow memory.

    Args:
        static: the program.
        plan: changed in place.
        first: the value's first decision.
    """
    static, plan = borrow(static), borrow(plan)
    chunks, capacity = plan.chunks, static.capacity
    size = static.buf_size[static.dec_buffer[first]]
    own = chunks.made[0]  # the value's first chunk
    held, before, made_at, only_fast = NONE, -1, -1, False
    d = first
    while d < len(plan.wishes):
        instr, writes = static.dec_instr[d], static.dec_writes[d]
        until = static.dec_until[d] if writes else instr
        start, copy = instr, static.dec_copy[d]
        since = -1 if static.dec_makes[d] else before
        ring = carrying(static.rings, static.dec_ring[d], static.dec_ring[d + 1], since)
        if ring != NONE:  # what a loop carries is there from its begin to its end
            start, until = static.rings[ring, FIRST], max(until, static.rings[ring, LAST])
            copy = static.rings[ring, TIME_BEFORE]
        stays = held != NONE and _between(plan, before, instr) <= plan.longest
        if stays and is_free(chunks, held, chunks.end[held] + 1, until, capacity):
            hold_until(chunks, held, until)
        elif static.dec_makes[d]:
            offset = best_fit(chunks, size, start, until, capacity)
            held = take(chunks, offset, size, start, until) if offset >= 0 else NONE
        else:
            room = static.buf_copy[static.dec_buffer[d]]
            if only_fast and not _book(plan.evict, made_at + 1, start, room):
                use = first
                while use < len(plan.wishes):  # rolled back: the value stays in slow memory
                    plan.wishes[use] = 0
                    use = static.dec_next[use]
                for row in range(own, chunks.made[0]):
                    give_back(chunks, row)
                return
            only_fast = False
            held = _prefetch(static, plan, d, copy, max(before, made_at), start, until)
        plan.wishes[d] = held != NONE
        if writes:
            made_at = instr
            only_fast = held != NONE and static.dead_end != RESERVE
        before = instr
        d = static.dec_next[d]


@njit(cache=True)
def _book(pool: np.ndarray, start: int, end: int, amount: int) -> bool:
    """Take `amount` ps from instructions start..end-1, earliest first; False if there is less."""
    left, instr = amount, start
    while left > 0 and instr < end:
        left -= pool[instr]
        instr += 1
    if left > 0:
        return False
    if instr > start:
        pool[start : instr - 1] = 0
        pool[instr - 1] = -left
    return True


@njit(cache=True)
def _prefetch(
    static: Static, plan: Plan, d: int, copy: int, after: int, use: int, until: int
) -> int:
    """Book the first of the picker's starts that has the time and the memory.

    In XLA's order (cost-based picker), the first start is nearest to R_PREFERRED times the copy's
    time before the use; then later and earlier ones alternate.

    Args:
        static: the program.
        plan: changed in place.
        d: decision to prefetch for.
        copy: time of the copy, ps.
        after: earliest instruction to start after.
        use: instruction of the decision, or the first of the loop that the copy is made before.
        until: instruction to hold the value to.

    Returns:
        The chunk; NONE if no start has the time and the memory.
    """
    static, plan = borrow(static), borrow(plan)
    chunks, capacity, elapsed = plan.chunks, static.capacity, plan.elapsed
    size = static.buf_size[static.dec_buffer[d]]
    if not has_bytes(chunks, size, use, until, capacity):
        return NONE
    helps = 0  # a copy before a loop does not shorten the time to the use
    if use == static.dec_instr[d]:
        helps = max(0, static.dec_slow[d] - static.dec_fast[d])
    # A copy may begin with instructions low..high - 1; with the others too late or too early.
    low, end = after + 1, elapsed[use]
    latest = end + helps - math.ceil(R_MIN * copy)
    high = low + np.searchsorted(elapsed[low : use + 1], latest, side="right")
    if high <= low:
        return NONE
    low += np.searchsorted(elapsed[low : high - 1], end - plan.longest)
    last, left = use, copy  # the last one with time enough
    while left > 0 and last > low:
        last -= 1
        left -= plan.prefetch[last]
    if left > 0:
        return NONE
    earliest = use
    while earliest > low and chunks.load[earliest - 1] + size <= capacity:
        earliest -= 1
    if earliest > last:
        return NONE
    first = _nearest(elapsed, low, high, end - R_PREFERRED * copy)
    later = high - first - 1
    stride = max(1, -(-(first - low) // MOST_EARLIER))
    for turn in range(2 * max(later, first - low) + 1):
        begin = first + (turn + 1) // 2
        if turn % 2 == 0:
            begin = first - turn // 2 - (stride - 1) * max(0, turn // 2 - 1 - later)
        if not (max(low, earliest) <= begin <= min(high - 1, last)):
            continue
        offset = best_fit(chunks, size, begin, until, capacity)
        if offset >= 0:
            _book(plan.prefetch, begin, use, copy)
            return int(take(chunks, offset, size, begin, until))
        earliest = begin + 1  # what is held for longer does not fit either
    return NONE


@njit(cache=True)
def _nearest(elapsed: np.ndarray, low: int, high: int, moment: float) -> int:
    """Return the first of the instructions low..high-1 that begin nearest to a moment, ps."""
    after = low + np.searchsorted(elapsed[low:high], moment)
    if after > low:
        before = low + np.searchsorted(elapsed[low:after], elapsed[after - 1])
        if after == high or moment - elapsed[before] <= elapsed[after] - moment:
            return int(before)
    return int(after)
