"""The rules of memory mapping's three actions, compiled twice: with loops and without.

What a decision does is laid out in its caller (`inline`), with arrays borrowed: to hand thirty
arrays to a function costs more than most decisions do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..borrowed import borrow
from .ranges import best_fit, hold, place, stays_free
from .rings import (
    NONE,
    binding,
    carrying,
    entered,
    finds_slow,
    first_place,
    held_until,
    leave,
    reach_back,
)
from .state import (
    COPY,
    COPY_RING,
    COPY_START,
    DROP,
    EVICT_END,
    NEVER,
    NO_COPY,
    OFFSET,
    P_COPY_OFFSET,
    P_COPY_RING,
    P_COPY_START,
    P_EVICT_END,
    P_OFFSET,
    POSITION,
    TIME,
    State,
)
from .static import ENTRY, FIRST, LAST, RESERVE, TIME_BEFORE, UNTIL, Static


@njit(cache=True, inline="always")
def idle(static: Static, state: State, instr: int) -> int:
    """Slow memory's free time during an instruction, ps; final once it is decided."""
    own = state.slow[instr]
    return int(
        max(static.instr_compute[instr], own + state.fast[instr]) - own - state.booked[instr]
    )


@njit(cache=True, inline="always")
def last_idle(static: Static, state: State, instr: int) -> int:
    """The last instruction up to `instr`, all decided, with idle time; -1 if there is none.

    What has no idle time has none until a rewind, so the way is noted and shortened.
    """
    at = instr
    while at >= 0 and idle(static, state, at) == 0:
        at = state.idle_before[at]
    while instr > at:
        further = state.idle_before[instr]
        state.idle_before[instr] = at
        instr = further
    return int(at)


@njit(cache=True, inline="always")
def next_idle(static: Static, state: State, instr: int, end: int) -> int:
    """The first instruction from `instr` to before `end`, all decided, with idle time; `end` or
    more if there is none.
    """
    at = instr
    while at < end and idle(static, state, at) == 0:
        at = state.idle_after[at]
    while instr < at:
        further = state.idle_after[instr]
        state.idle_after[instr] = at
        instr = further
    return int(at)


@njit(cache=True, inline="always")
def book(static: Static, state: State, first: int, last: int, amount: int, forward: bool) -> int:
    """Books slow memory's idle time in first..last, from either end; returns what is left over."""
    instr = first - 1 if forward else last + 1
    while amount > 0:
        if forward:
            instr = next_idle(static, state, instr + 1, last + 1)
        else:
            instr = last_idle(static, state, instr - 1)
        if not first <= instr <= last:
            break
        part = min(amount, idle(static, state, instr))
        state.booked[instr] += part
        amount -= part
    return amount


@njit(cache=True, inline="always")
def hold_until(state: State, buffer: int, end: int) -> None:
    """Changes the last instruction that the buffer's present address range is held for."""
    hold(state.rects, state.counts, buffer, state.end[buffer], end)
    state.end[buffer] = end


@njit(cache=True)
def _window(static: Static, d: int, wrote: int) -> tuple[int, int, int]:
    """Where a write-back for decision d of what instruction `wrote` wrote may be made: from the
    first instruction to before the second; and the time it takes, ps.

    It is made once a trip of the innermost loop around both, outside of the loops around one alone.
    """
    instr = static.dec_instr[d]
    ring = entered(static.rings, static.dec_ring[d], static.dec_ring[d + 1], wrote)
    first = leave(static.instr_loop, static.loop_rows, wrote, instr) + 1
    if ring == NONE:
        return first, instr, static.dec_copy[d]
    return first, static.rings[ring, FIRST], static.rings[ring, TIME_BEFORE]


@njit(cache=True)
def _look_for_copy(static: Static, state: State, d: int, valid: int) -> None:
    """Finds the copy for decision d in a program with loops: of the places in order, the first that
    has the idle time and the addresses; `valid` is the first instruction with a valid slow copy.
    """
    static, state = borrow(static), borrow(state)
    instr, size = static.dec_instr[d], static.buf_size[static.dec_buffer[d]]
    if valid > instr:
        return
    if valid > 0:
        valid = leave(static.instr_loop, static.loop_rows, valid - 1, instr) + 1
    outer, own = static.dec_ring[d], static.dec_ring[d + 1]
    for ring in range(first_place(static.rings, outer, own, d), own + 1):
        before, left = instr, static.dec_copy[d]
        if ring < own:
            before, left = static.rings[ring, FIRST], static.rings[ring, TIME_BEFORE]
        first = max(valid, static.rings[ring - 1, FIRST] if ring > outer else 0)
        start = before
        while left > 0 and start > first:
            start = last_idle(static, state, start - 1)
            if start >= first:
                left -= idle(static, state, start)
        if left > 0:
            continue
        # Of a loop passed over, all trips may be needed.
        start = reach_back(static.instr_loop, static.loop_rows, start, before)
        offset = best_fit(state.rects, state.counts, start, size, static.capacity)
        if offset >= 0:
            state.pending[P_COPY_OFFSET] = offset
            state.pending[P_COPY_START] = start
            state.pending[P_COPY_RING] = ring if ring < own else NONE
            state.mask[COPY] = 1
            return


def make_rules(looped: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `look` and `carry_out`, to be laid out in their callers.

    Args:
        looped: whether programs have loops; without, nothing of loops is compiled.
    """

    @njit(inline="always")
    def _eviction_end(static: Static, state: State, d: int, buffer: int) -> int:
        """The instruction during which a write-back for decision d that starts after the write
        ends; -1 where it does not end in time, or the fast copy is overwritten first.
        """
        wrote = static.dec_instr[state.dirty[buffer]]
        instr, before, left = wrote + 1, static.dec_instr[d], static.buf_copy[buffer]
        if looped:
            instr, before, left = _window(static, d, wrote)
        while instr < before:
            instr = next_idle(static, state, instr, before)
            if instr < before:
                left -= idle(static, state, instr)
            if left <= 0:
                break
            instr += 1
        after = state.end[buffer]
        in_time = instr < before
        if in_time and looped:
            # Of a loop passed over, all trips may be needed.
            instr = leave(static.instr_loop, static.loop_rows, instr, before)
        if in_time and instr > after:
            offset, size = state.offset[buffer], static.buf_size[buffer]
            in_time = stays_free(state.rects, state.counts, offset, size, after, instr)
        return instr if in_time else -1

    @njit(inline="always")
    def _stays(static: Static, state: State, d: int) -> bool:
        """Whether decision d can use the buffer where it is in fast memory."""
        instr, buffer = static.dec_instr[d], static.dec_buffer[d]
        end = state.end[buffer]
        until = static.dec_until[d] if static.dec_writes[d] else instr
        stays = end >= 0
        if stays and looped:
            outer, own = static.dec_ring[d], static.dec_ring[d + 1]
            until = held_until(static.rings, outer, own, state.birth[buffer], until)
        if stays and end < until:
            offset, size = state.offset[buffer], static.buf_size[buffer]
            stays = stays_free(state.rects, state.counts, offset, size, end, until)
        return bool(stays)

    @njit(inline="always")
    def look(static: Static, state: State, wanted: int) -> None:
        """Finds the legal actions at POSITION and what they would book; where Drop or NoCopy is
        wanted and legal, no others.
        """
        static, state = borrow(static), borrow(state)
        d = state.scalars[POSITION]
        mask, pending = state.mask, state.pending
        mask[:] = 0
        pending[:] = -1
        if d == len(static.dec_instr):
            return
        instr, buffer = static.dec_instr[d], static.dec_buffer[d]
        size = static.buf_size[buffer]
        if looped:
            outer, own = static.dec_ring[d], static.dec_ring[d + 1]
        if static.dec_makes[d]:
            mask[DROP] = 1
            if wanted != DROP and not state.forced[d]:
                since = instr
                if looped and carrying(static.rings, outer, own, -1) != NONE:
                    since = static.rings[outer, FIRST]  # all trips around it add to what it makes
                offset = best_fit(state.rects, state.counts, since, size, static.capacity)
                pending[P_OFFSET] = offset
                mask[NO_COPY] = offset >= 0
            return
        if looped and state.end[buffer] >= 0:
            ring = binding(static.rings, outer, own, state.birth[buffer])
            if ring != NONE and static.rings[ring, ENTRY] != d:  # decided by the loop's first use
                mask[NO_COPY] = 1
                pending[P_OFFSET] = state.offset[buffer]
                return
        if wanted == NO_COPY and not state.forced[d] and _stays(static, state, d):
            mask[NO_COPY] = 1
            pending[P_OFFSET] = state.offset[buffer]
            return
        valid = state.valid[buffer]
        if valid > instr:
            ends = _eviction_end(static, state, d, buffer)
            pending[P_EVICT_END] = ends
            valid = ends + 1 if ends >= 0 else NEVER
        mask[DROP] = valid <= instr
        if state.forced[d] or (wanted == DROP and mask[DROP]):
            return
        if wanted != NO_COPY and _stays(static, state, d):
            mask[NO_COPY] = 1
            pending[P_OFFSET] = state.offset[buffer]
            return
        if looped:
            _look_for_copy(static, state, d, valid)
            return
        left, start = static.buf_copy[buffer], instr
        while left > 0 and start > valid:
            start = last_idle(static, state, start - 1)
            if start >= valid:
                left -= idle(static, state, start)
        if left <= 0:
            offset = best_fit(state.rects, state.counts, start, size, static.capacity)
            pending[P_COPY_OFFSET] = offset
            pending[P_COPY_START] = start
            mask[COPY] = offset >= 0

    @njit(inline="always")
    def _evict(static: Static, state: State, d: int, last: int) -> None:
        """Writes decision d's buffer back to slow memory by the end of instruction `last`."""
        buffer = static.dec_buffer[d]
        wrote = static.dec_instr[state.dirty[buffer]]
        first, amount = wrote + 1, static.buf_copy[buffer]
        if looped:
            first, _, amount = _window(static, d, wrote)
        book(static, state, first, last, amount, True)
        held = max(last, state.used[buffer])
        if held > state.end[buffer] or static.buf_at_end[buffer]:
            hold_until(state, buffer, held)
        state.valid[buffer] = last + 1
        state.dirty[buffer] = -1

    @njit(inline="always")
    def carry_out(static: Static, state: State) -> None:
        """Does what is noted of the decision at POSITION."""
        static, state = borrow(static), borrow(state)
        d = state.scalars[POSITION]
        instr, buffer, writes = static.dec_instr[d], static.dec_buffer[d], static.dec_writes[d]
        if looped:
            outer, own = static.dec_ring[d], static.dec_ring[d + 1]
        action, start, offset = state.actions[d], state.moves[d, COPY_START], state.moves[d, OFFSET]
        if state.moves[d, EVICT_END] >= 0:
            _evict(static, state, d, state.moves[d, EVICT_END])
        if action == DROP:
            if writes:
                state.valid[buffer] = instr + 1
                state.end[buffer] = -1
            elif looped and binding(static.rings, outer, own, state.birth[buffer]) != NONE:
                state.end[buffer] = -1  # later trips would find the buffer changed
        else:
            until = static.dec_until[d] if writes else instr
            if action == COPY or static.dec_makes[d]:
                if action == NO_COPY:
                    start = instr
                birth, used, before, amount = start, instr, instr, static.buf_copy[buffer]
                if looped:
                    ring = carrying(static.rings, outer, own, -1)
                    if action == COPY:
                        ring, amount = state.moves[d, COPY_RING], static.dec_copy[d]
                    if ring != NONE:
                        until, used = (
                            max(until, static.rings[ring, UNTIL]),
                            static.rings[ring, LAST],
                        )
                        before, amount = static.rings[ring, FIRST], static.rings[ring, TIME_BEFORE]
                        if action == NO_COPY:
                            start, birth = before, before - 1
                if action == COPY:
                    book(static, state, start, before - 1, amount, False)
                top = offset + static.buf_size[buffer]
                place(state.rects, state.counts, offset, top, start, until, buffer, instr)
                state.offset[buffer] = offset
                state.end[buffer] = until
            else:
                birth, used = state.birth[buffer], instr
                if looped:
                    ring = carrying(static.rings, outer, own, birth)
                    used = state.used[buffer]
                    if ring != NONE:
                        until = max(until, static.rings[ring, UNTIL])
                        used = max(used, static.rings[ring, LAST])
                    elif entered(static.rings, outer, own, birth) != NONE:
                        birth = instr  # the loop's first use, which makes it anew in every trip
                    used = max(used, instr)
                if until > state.end[buffer]:
                    hold_until(state, buffer, until)
            state.birth[buffer] = birth
            state.used[buffer] = used
            slow, fast, compute = state.slow[instr], state.fast[instr], static.instr_compute[instr]
            was = max(compute, slow + fast)
            slow -= static.dec_slow[d]
            fast += static.dec_fast[d]
            through = static.dead_end == RESERVE
            if looped and writes and finds_slow(static.rings, outer, own, birth):
                through = True
            if writes and through:
                slow += static.dec_through[d]
                state.valid[buffer] = instr + 1
            elif writes:
                state.valid[buffer] = NEVER
                state.dirty[buffer] = d
            state.slow[instr], state.fast[instr] = slow, fast
            state.scalars[TIME] += max(compute, slow + fast) - was
        state.scalars[POSITION] += 1

    return look, carry_out


look_plain, carry_out_plain = make_rules(False)
_look, _carry_out = make_rules(True)


@njit(cache=True)
def look_looped(static: Static, state: State, wanted: int) -> None:
    """`look` of programs with loops."""
    static, state = borrow(static), borrow(state)
    _look(static, state, wanted)


@njit(cache=True)
def carry_out_looped(static: Static, state: State) -> None:
    """`carry_out` of programs with loops."""
    static, state = borrow(static), borrow(state)
    _carry_out(static, state)
