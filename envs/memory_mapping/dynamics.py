"""What a placement does: times, copies and address ranges, compiled. Uses numpy and numba.

Pure functions over `Static` (the program, as arrays) and a preallocated `State`. The environment,
the solvers and the agents' searches all call these. All times are whole picoseconds, so that sums
are exact in any order; docs/memory_mapping.md has the rules.

A typical loop: `static = make_static(program)`, `state = make_state(static)`, then, until
`state.scalars[OUTCOME] != GOES_ON`, `step(static, state, action)` with `state.mask[action] == 1`.
`state.actions` is then the plan as rewinds left it: it replays, without any, to the same end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ..borrowed import borrow
from .static import BACKUP as BACKUP  # callers find all of the game's names here
from .static import RESERVE as RESERVE
from .static import TERMINATE as TERMINATE
from .static import Static as Static
from .static import make_static as make_static

COPY, NO_COPY, DROP = range(3)
ACTION_NAMES = ("copy", "no_copy", "drop")
GOES_ON, FINISHED, DEAD = range(3)
# Columns of State.scalars.
POSITION, TIME, OUTCOME, REWINDS, N_RECTS, STALL = range(6)
# Rows of State.rects.
R_OFFSET, R_TOP, R_START, R_END, R_BUFFER = range(5)
# Columns of State.moves.
COPY_START, EVICT_END, OFFSET = range(3)
# Entries of State.pending: where the actions open now would put things.
P_COPY_START, P_COPY_OFFSET, P_EVICT_END, P_OFFSET = range(4)
NEVER = 1 << 40
HUGE = 1 << 60


class State(NamedTuple):
    """What decisions change; copy with `copy_state`."""

    scalars: np.ndarray  # int64 [6]; POSITION (decision to take), TIME (undecided counts as slow)..
    mask: np.ndarray  # int64 [3]; the legal actions at POSITION
    pending: np.ndarray  # int64 [4]
    actions: np.ndarray  # int64 [D]; as taken, -1 from POSITION on
    forced: np.ndarray  # int64 [D]; 1 where a rewind forces Drop
    moves: np.ndarray  # int64 [D, 3]; copy's start, eviction's end, offset; -1 where none
    slow: np.ndarray  # int64 [I]; slow memory's time of the instruction's own operands
    fast: np.ndarray  # int64 [I]; fast memory's time
    booked: np.ndarray  # int64 [I]; slow memory's time booked by copies
    valid: np.ndarray  # int64 [B]; first instruction with a valid slow copy, NEVER for none
    offset: np.ndarray  # int64 [B]; of the fast copy
    end: np.ndarray  # int64 [B]; last instruction the fast copy is held for, -1 for none
    used: np.ndarray  # int64 [B]; last instruction that used the fast copy
    dirty: np.ndarray  # int64 [B]; the decision whose fast write slow memory lacks, -1 for none
    rects: np.ndarray  # int64 [5, D+1]; address ranges over instructions, by rising offset


def make_state(static: Static) -> State:
    """The state before any decision."""
    d, i, b = len(static.dec_instr), len(static.instr_slow), len(static.buf_size)
    state = State(
        scalars=np.zeros(6, np.int64),
        mask=np.zeros(3, np.int64),
        pending=np.zeros(4, np.int64),
        actions=np.zeros(d, np.int64),
        forced=np.zeros(d, np.int64),
        moves=np.zeros((d, 3), np.int64),
        slow=np.zeros(i, np.int64),
        fast=np.zeros(i, np.int64),
        booked=np.zeros(i, np.int64),
        valid=np.zeros(b, np.int64),
        offset=np.zeros(b, np.int64),
        end=np.zeros(b, np.int64),
        used=np.zeros(b, np.int64),
        dirty=np.zeros(b, np.int64),
        rects=np.zeros((5, d + 1), np.int64),
    )
    reset(static, state)
    return state


def copy_state(state: State) -> State:
    """An independent copy."""
    return State(*(array.copy() for array in state))


@njit(cache=True)
def restore_state(state: State, saved: State) -> None:
    """Overwrites `state` with `saved`, in place."""
    state, saved = borrow(state), borrow(saved)
    state.scalars[:] = saved.scalars
    state.mask[:] = saved.mask
    state.pending[:] = saved.pending
    state.actions[:] = saved.actions
    state.forced[:] = saved.forced
    state.moves[:] = saved.moves
    state.slow[:] = saved.slow
    state.fast[:] = saved.fast
    state.booked[:] = saved.booked
    state.valid[:] = saved.valid
    state.offset[:] = saved.offset
    state.end[:] = saved.end
    state.used[:] = saved.used
    state.dirty[:] = saved.dirty
    n = saved.scalars[N_RECTS]
    state.rects[:, :n] = saved.rects[:, :n]


@njit(cache=True)
def reset(static: Static, state: State) -> None:
    """Back to the start, in place."""
    static, state = borrow(static), borrow(state)
    state.forced[:] = 0
    state.scalars[REWINDS] = 0
    _restart(static, state)
    _look(static, state)


@njit(cache=True)
def _restart(static: Static, state: State) -> None:
    """The start, but for the forced decisions and the count of rewinds; nothing is looked up."""
    state.scalars[POSITION] = 0
    state.scalars[TIME] = static.all_slow
    state.scalars[OUTCOME] = GOES_ON
    state.scalars[N_RECTS] = 0
    state.scalars[STALL] = 0
    state.actions[:] = -1
    state.moves[:] = -1
    state.slow[:] = static.instr_slow
    state.fast[:] = 0
    state.booked[:] = 0
    for buffer in range(len(state.valid)):
        state.valid[buffer] = 0 if static.buf_at_start[buffer] else NEVER
    state.offset[:] = -1
    state.end[:] = -1
    state.used[:] = -1
    state.dirty[:] = -1


@njit(cache=True, inline="always")
def idle(static: Static, state: State, instr: int) -> int:
    """Slow memory's free time during an instruction, ps; final once it is decided."""
    own = state.slow[instr]
    return int(
        max(static.instr_compute[instr], own + state.fast[instr]) - own - state.booked[instr]
    )


@njit(cache=True)
def _best_fit(state: State, since: int, size: int, capacity: int) -> int:
    """The offset of the smallest gap that is free from an instruction on; -1 where none fits.

    Every range so far starts at or before the instruction being decided, so whatever ends at
    `since` or later is in the way.
    """
    rects, n = state.rects, state.scalars[N_RECTS]
    best, best_gap, low = -1, HUGE, 0
    for k in range(n):
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
def _stays_free(state: State, offset: int, size: int, after: int, until: int) -> bool:
    """Whether an address range held until `after` can be held until `until`."""
    rects = state.rects
    top = offset + size
    for k in range(state.scalars[N_RECTS]):
        if rects[R_OFFSET, k] >= top:
            break
        if rects[R_END, k] > after and rects[R_TOP, k] > offset and rects[R_START, k] <= until:
            return False
    return True


@njit(cache=True)
def _eviction_end(static: Static, state: State, buffer: int, before: int) -> int:
    """The instruction during which a write-back that starts after the write ends; -1 where it does
    not end before instruction `before`, or the fast copy is overwritten first.
    """
    left = static.buf_copy[buffer]
    instr = static.dec_instr[state.dirty[buffer]]
    while left > 0:
        instr += 1
        if instr >= before:
            return -1
        left -= idle(static, state, instr)
    after = state.end[buffer]
    if instr > after and not _stays_free(
        state, state.offset[buffer], static.buf_size[buffer], after, instr
    ):
        return -1
    return int(instr)


@njit(cache=True)
def _look(static: Static, state: State, wanted: int = -1) -> None:
    """Finds the legal actions at POSITION and what they would book; where Drop is wanted and legal,
    no others.
    """
    d = state.scalars[POSITION]
    mask, pending = state.mask, state.pending
    mask[:] = 0
    pending[:] = -1
    if d == len(static.dec_instr):
        return
    instr, buffer = static.dec_instr[d], static.dec_buffer[d]
    size = static.buf_size[buffer]
    if static.dec_makes[d]:
        mask[DROP] = 1
        if wanted != DROP and not state.forced[d]:
            pending[P_OFFSET] = _best_fit(state, instr, size, static.capacity)
            mask[NO_COPY] = pending[P_OFFSET] >= 0
        return
    valid = state.valid[buffer]
    if valid > instr:
        pending[P_EVICT_END] = _eviction_end(static, state, buffer, instr)
        valid = pending[P_EVICT_END] + 1 if pending[P_EVICT_END] >= 0 else NEVER
    mask[DROP] = valid <= instr
    if state.forced[d] or (wanted == DROP and mask[DROP]):
        return
    end = state.end[buffer]
    until = static.dec_until[d] if static.dec_writes[d] else instr
    if end >= 0 and (end >= until or _stays_free(state, state.offset[buffer], size, end, until)):
        mask[NO_COPY] = 1
        pending[P_OFFSET] = state.offset[buffer]
        return
    left, start = static.buf_copy[buffer], instr
    while left > 0 and start > valid:
        start -= 1
        left -= idle(static, state, start)
    if left <= 0:
        pending[P_COPY_OFFSET] = _best_fit(state, start, size, static.capacity)
        pending[P_COPY_START] = start
        mask[COPY] = pending[P_COPY_OFFSET] >= 0


@njit(cache=True)
def _book(static: Static, state: State, first: int, last: int, amount: int, forward: bool) -> int:
    """Books slow memory's idle time in first..last, from either end; returns what is left over."""
    for k in range(last - first + 1):
        instr = first + k if forward else last - k
        part = min(amount, idle(static, state, instr))
        state.booked[instr] += part
        amount -= part
        if amount == 0:
            break
    return int(amount)


@njit(cache=True)
def _hold(state: State, buffer: int, end: int) -> None:
    """Changes the last instruction that the buffer's present address range is held for."""
    rects = state.rects
    for k in range(state.scalars[N_RECTS]):
        if rects[R_BUFFER, k] == buffer and rects[R_END, k] == state.end[buffer]:
            rects[R_END, k] = end
            break
    state.end[buffer] = end


@njit(cache=True)
def _place(state: State, buffer: int, offset: int, size: int, start: int, end: int) -> None:
    """Enters an address range, held from instruction `start` to `end`."""
    rects, k = state.rects, state.scalars[N_RECTS]
    while k > 0 and rects[R_OFFSET, k - 1] > offset:
        for row in range(5):
            rects[row, k] = rects[row, k - 1]
        k -= 1
    rects[R_OFFSET, k] = offset
    rects[R_TOP, k] = offset + size
    rects[R_START, k] = start
    rects[R_END, k] = end
    rects[R_BUFFER, k] = buffer
    state.scalars[N_RECTS] += 1
    state.offset[buffer] = offset
    state.end[buffer] = end


@njit(cache=True)
def _evict(static: Static, state: State, buffer: int, last: int) -> None:
    """Writes a buffer back to slow memory by the end of instruction `last`."""
    first = static.dec_instr[state.dirty[buffer]] + 1
    _book(static, state, first, last, static.buf_copy[buffer], True)
    held = max(last, state.used[buffer])
    if held > state.end[buffer] or static.buf_at_end[buffer]:
        _hold(state, buffer, held)
    state.valid[buffer] = last + 1
    state.dirty[buffer] = -1


@njit(cache=True)
def _apply(static: Static, state: State, action: int) -> None:
    """Takes a legal action; the caller has `_look`ed."""
    d = state.scalars[POSITION]
    instr, buffer = static.dec_instr[d], static.dec_buffer[d]
    writes, pending = static.dec_writes[d], state.pending
    state.actions[d] = action
    if action != NO_COPY and pending[P_EVICT_END] >= 0:
        state.moves[d, EVICT_END] = pending[P_EVICT_END]
        _evict(static, state, buffer, pending[P_EVICT_END])
    if action == DROP:
        if writes:
            state.valid[buffer] = instr + 1
            state.end[buffer] = -1
    else:
        until = static.dec_until[d] if writes else instr
        if action == COPY:
            start = pending[P_COPY_START]
            state.moves[d, COPY_START] = start
            _book(static, state, start, instr - 1, static.buf_copy[buffer], False)
            offset = pending[P_COPY_OFFSET]
            _place(state, buffer, offset, static.buf_size[buffer], start, until)
        elif static.dec_makes[d]:
            offset = pending[P_OFFSET]
            _place(state, buffer, offset, static.buf_size[buffer], instr, until)
        elif until > state.end[buffer]:
            _hold(state, buffer, until)
        state.moves[d, OFFSET] = state.offset[buffer]
        state.used[buffer] = instr
        slow, fast, compute = state.slow[instr], state.fast[instr], static.instr_compute[instr]
        was = max(compute, slow + fast)
        slow -= static.dec_slow[d]
        fast += static.dec_fast[d]
        if writes and static.dead_end == RESERVE:
            slow += static.dec_through[d]
            state.valid[buffer] = instr + 1
        elif writes:
            state.valid[buffer] = NEVER
            state.dirty[buffer] = d
        state.slow[instr], state.fast[instr] = slow, fast
        state.scalars[TIME] += max(compute, slow + fast) - was
    state.scalars[POSITION] += 1


@njit(cache=True)
def _finish(static: Static, state: State) -> None:
    """Writes back the outputs that slow memory lacks; what finds no idle time stalls the end."""
    last = len(static.instr_slow) - 1
    for d in range(len(static.dec_instr)):
        buffer = static.dec_buffer[d]
        if static.buf_at_end[buffer] and state.dirty[buffer] == d:
            first = static.dec_instr[d] + 1
            left = _book(static, state, first, last, static.buf_copy[buffer], True)
            state.moves[d, EVICT_END] = last
            state.scalars[STALL] += left
            state.scalars[TIME] += left
    state.scalars[OUTCOME] = FINISHED


@njit(cache=True)
def _rewind(static: Static, state: State) -> None:
    """Goes back to the fast write that nothing can be done about now, forces Drop there, and takes
    the decisions since again: as before where that is legal, else Drop, NoCopy or Copy.
    """
    reached = state.scalars[POSITION]
    taken = state.actions[:reached].copy()
    pending = state.pending
    while True:
        culprit = state.dirty[static.dec_buffer[state.scalars[POSITION]]]
        state.forced[culprit] = 1
        state.scalars[REWINDS] += 1
        standing, moves = state.actions[:culprit].copy(), state.moves[:culprit].copy()
        _restart(static, state)
        for d in range(culprit):  # nothing before it changes, so nothing need be looked up
            pending[P_EVICT_END] = moves[d, EVICT_END]
            pending[P_COPY_START] = moves[d, COPY_START]
            pending[P_COPY_OFFSET] = pending[P_OFFSET] = moves[d, OFFSET]
            _apply(static, state, standing[d])
        _look(static, state, taken[culprit])
        while state.scalars[POSITION] < reached and state.mask.any():
            action = taken[state.scalars[POSITION]]
            if not state.mask[action]:
                action = DROP
                while not state.mask[action]:
                    action -= 1
            _apply(static, state, action)
            d = state.scalars[POSITION]
            _look(static, state, taken[d] if d < reached else -1)
        if state.mask.any():
            return


@njit(cache=True)
def step(static: Static, state: State, action: int) -> int:
    """Takes a legal action at POSITION; returns the time saved by it, ps (negative after a rewind).

    The time saved over a whole episode is all_slow - TIME at its end. At a dead end, policy
    terminate sets OUTCOME to DEAD; backup rewinds, and the game goes on where it was.
    """
    static, state = borrow(static), borrow(state)
    before = state.scalars[TIME]
    _apply(static, state, action)
    _look(static, state)
    if state.scalars[POSITION] == len(static.dec_instr):
        _finish(static, state)
    elif not state.mask.any():
        if static.dead_end == TERMINATE:
            state.scalars[OUTCOME] = DEAD
        else:
            _rewind(static, state)
    return int(before - state.scalars[TIME])


@njit(cache=True)
def gain(static: Static, state: State, action: int) -> int:
    """The time that an action at POSITION saves in its own instruction, ps; 0 for Drop."""
    if action == DROP:
        return 0
    d = state.scalars[POSITION]
    instr = static.dec_instr[d]
    slow, fast, compute = state.slow[instr], state.fast[instr], static.instr_compute[instr]
    through = static.dec_through[d] if static.dead_end == RESERVE else 0
    after = slow - static.dec_slow[d] + through + fast + static.dec_fast[d]
    return int(max(compute, slow + fast) - max(compute, after))


@njit(cache=True)
def play(static: Static, state: State, actions: np.ndarray) -> int:
    """Takes actions from POSITION on while they are legal; returns how many were taken."""
    for taken in range(len(actions)):
        action = actions[taken]
        legal = state.scalars[OUTCOME] == GOES_ON and 0 <= action < 3 and state.mask[action] == 1
        if not legal:
            return taken
        step(static, state, action)
    return len(actions)
