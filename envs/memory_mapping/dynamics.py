"""What a placement does: times, copies and address ranges, compiled.

Pure functions over `Static` (the program, as arrays) and a preallocated `State`. The environment,
the solvers and the agents' searches all call these. All times are whole picoseconds, so that sums
are exact in any order; docs/memory_mapping.md has the rules.

What a decision does is laid out in its caller (`inline`), with arrays borrowed: to hand thirty
arrays to a function costs more than most decisions do.

A typical loop: `static = make_static(program)`, `state = make_state(static)`, then, until
`state.scalars[OUTCOME] != GOES_ON`, `step(static, state, action)` with `state.mask[action] == 1`.
`state.actions` is then the plan as rewinds left it: it replays, without any, to the same end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import literal_unroll, njit

from ..borrowed import borrow
from ..packed import Matrix
from .ranges import N_LIVE, N_PAST, best_fit, hold, place, stays_free
from .static import BACKUP as BACKUP  # callers find all of the game's names here
from .static import RESERVE as RESERVE
from .static import TERMINATE as TERMINATE
from .static import Static as Static
from .static import make_static as make_static

COPY, NO_COPY, DROP = range(3)
ACTION_NAMES = ("copy", "no_copy", "drop")
GOES_ON, FINISHED, DEAD = range(3)
# Columns of State.scalars.
# REDONE counts the decisions that rewinds carried out again.
POSITION, TIME, OUTCOME, REWINDS, REDONE, STALL = range(6)
# Columns of State.moves.
COPY_START, EVICT_END, OFFSET = range(3)
# Entries of State.pending: where the actions open now would put things.
P_COPY_START, P_COPY_OFFSET, P_EVICT_END, P_OFFSET = range(4)
NEVER = 1 << 40
ANY = -1  # no action is wanted before the others


class State(NamedTuple):
    """What decisions change; copy with `copy_state`."""

    scalars: np.ndarray  # int64 [6]; POSITION (decision to take), TIME (undecided counts as slow)..
    mask: np.ndarray  # int64 [3]; the legal actions at POSITION
    pending: np.ndarray  # int64 [4]
    actions: np.ndarray  # int64 [D]; as taken, -1 from POSITION on
    forced: np.ndarray  # int64 [D]; 1 where a rewind forces Drop
    moves: Matrix  # int64 [D, 3]; copy's start, eviction's end, offset; -1 where none
    slow: np.ndarray  # int64 [I]; slow memory's time of the instruction's own operands
    fast: np.ndarray  # int64 [I]; fast memory's time
    booked: np.ndarray  # int64 [I]; slow memory's time booked by copies
    valid: np.ndarray  # int64 [B]; first instruction with a valid slow copy, NEVER for none
    offset: np.ndarray  # int64 [B]; of the fast copy
    end: np.ndarray  # int64 [B]; last instruction the fast copy is held for, -1 for none
    used: np.ndarray  # int64 [B]; last instruction that used the fast copy
    dirty: np.ndarray  # int64 [B]; the decision whose fast write slow memory lacks, -1 for none
    counts: np.ndarray  # int64 [3]; of the address ranges
    rects: Matrix  # int64 [5, D+1]; address ranges over instructions; see ranges.py


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
        counts=np.zeros(3, np.int64),
        rects=np.zeros((5, d + 1), np.int64),
    )
    reset(static, state)
    return state


def copy_state(state: State) -> State:
    """An independent copy."""
    return State(*(array.copy() for array in state))


# Fields that `restore_state` copies whole: all but the address ranges.
WHOLE = tuple(index for index, name in enumerate(State._fields) if name != "rects")


@njit(cache=True)
def restore_state(state: State, saved: State) -> None:
    """Overwrite `state` with `saved`, in place."""
    state, saved = borrow(state), borrow(saved)
    for field in literal_unroll(WHOLE):
        state[field][:] = saved[field]
    live, past = saved.counts[N_LIVE], saved.rects.shape[1] - saved.counts[N_PAST]
    state.rects[:, :live] = saved.rects[:, :live]
    state.rects[:, past:] = saved.rects[:, past:]


@njit(cache=True)
def reset(static: Static, state: State) -> None:
    """Back to the start, in place."""
    static, state = borrow(static), borrow(state)
    state.forced[:] = 0
    state.scalars[REWINDS] = 0
    state.scalars[REDONE] = 0
    state.scalars[STALL] = 0
    state.scalars[OUTCOME] = GOES_ON
    state.actions[:] = -1
    state.moves[:] = -1
    _restart(static, state)
    _look(static, state, ANY)


@njit(cache=True)
def _restart(static: Static, state: State) -> None:
    """The start, but for what is kept of each decision; nothing is looked up."""
    state.scalars[POSITION] = 0
    state.scalars[TIME] = static.all_slow
    state.counts[:] = 0
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


@njit(cache=True, inline="always")
def _eviction_end(static: Static, state: State, buffer: int, before: int) -> int:
    """The instruction during which a write-back that starts after the write ends; -1 where it does
    not end before instruction `before`, or the fast copy is overwritten first.
    """
    left = static.buf_copy[buffer]
    instr = static.dec_instr[state.dirty[buffer]] + 1
    while instr < before:
        left -= idle(static, state, instr)
        if left <= 0:
            break
        instr += 1
    after = state.end[buffer]
    in_time = instr < before
    if in_time and instr > after:
        offset, size = state.offset[buffer], static.buf_size[buffer]
        in_time = stays_free(state.rects, state.counts, offset, size, after, instr)
    return instr if in_time else -1


@njit(cache=True, inline="always")
def _stays(static: Static, state: State, d: int) -> bool:
    """Whether decision d can use the buffer where it is in fast memory."""
    instr, buffer = static.dec_instr[d], static.dec_buffer[d]
    end = state.end[buffer]
    until = static.dec_until[d] if static.dec_writes[d] else instr
    stays = end >= 0
    if stays and end < until:
        offset, size = state.offset[buffer], static.buf_size[buffer]
        stays = stays_free(state.rects, state.counts, offset, size, end, until)
    return bool(stays)


@njit(cache=True, inline="always")
def _look(static: Static, state: State, wanted: int) -> None:
    """Finds the legal actions at POSITION and what they would book; where Drop or NoCopy is wanted
    and legal, no others.
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
    if static.dec_makes[d]:
        mask[DROP] = 1
        if wanted != DROP and not state.forced[d]:
            offset = best_fit(state.rects, state.counts, instr, size, static.capacity)
            pending[P_OFFSET] = offset
            mask[NO_COPY] = offset >= 0
        return
    if wanted == NO_COPY and not state.forced[d] and _stays(static, state, d):
        mask[NO_COPY] = 1
        pending[P_OFFSET] = state.offset[buffer]
        return
    valid = state.valid[buffer]
    if valid > instr:
        ends = _eviction_end(static, state, buffer, instr)
        pending[P_EVICT_END] = ends
        valid = ends + 1 if ends >= 0 else NEVER
    mask[DROP] = valid <= instr
    if state.forced[d] or (wanted == DROP and mask[DROP]):
        return
    if wanted != NO_COPY and _stays(static, state, d):
        mask[NO_COPY] = 1
        pending[P_OFFSET] = state.offset[buffer]
        return
    left, start = static.buf_copy[buffer], instr
    while left > 0 and start > valid:
        start -= 1
        left -= idle(static, state, start)
    if left <= 0:
        offset = best_fit(state.rects, state.counts, start, size, static.capacity)
        pending[P_COPY_OFFSET] = offset
        pending[P_COPY_START] = start
        mask[COPY] = offset >= 0


@njit(cache=True, inline="always")
def _book(static: Static, state: State, first: int, last: int, amount: int, forward: bool) -> int:
    """Books slow memory's idle time in first..last, from either end; returns what is left over."""
    for k in range(last - first + 1):
        instr = first + k if forward else last - k
        part = min(amount, idle(static, state, instr))
        state.booked[instr] += part
        amount -= part
        if amount == 0:
            break
    return amount


@njit(cache=True, inline="always")
def _hold(state: State, buffer: int, end: int) -> None:
    """Changes the last instruction that the buffer's present address range is held for."""
    hold(state.rects, state.counts, buffer, state.end[buffer], end)
    state.end[buffer] = end


@njit(cache=True, inline="always")
def _evict(static: Static, state: State, buffer: int, last: int) -> None:
    """Writes a buffer back to slow memory by the end of instruction `last`."""
    first = static.dec_instr[state.dirty[buffer]] + 1
    _book(static, state, first, last, static.buf_copy[buffer], True)
    held = max(last, state.used[buffer])
    if held > state.end[buffer] or static.buf_at_end[buffer]:
        _hold(state, buffer, held)
    state.valid[buffer] = last + 1
    state.dirty[buffer] = -1


@njit(cache=True, inline="always")
def _apply(static: Static, state: State, action: int) -> None:
    """Takes a legal action; the caller has `_look`ed."""
    static, state = borrow(static), borrow(state)
    d, pending = state.scalars[POSITION], state.pending
    state.actions[d] = action
    state.moves[d, EVICT_END] = pending[P_EVICT_END] if action != NO_COPY else -1
    state.moves[d, COPY_START] = pending[P_COPY_START] if action == COPY else -1
    offset = pending[P_COPY_OFFSET] if action == COPY else pending[P_OFFSET]
    state.moves[d, OFFSET] = offset if action != DROP else -1
    _carry_out(static, state)


@njit(cache=True, inline="always")
def _carry_out(static: Static, state: State) -> None:
    """Does what is noted of the decision at POSITION."""
    static, state = borrow(static), borrow(state)
    d = state.scalars[POSITION]
    instr, buffer, writes = static.dec_instr[d], static.dec_buffer[d], static.dec_writes[d]
    action, start, offset = state.actions[d], state.moves[d, COPY_START], state.moves[d, OFFSET]
    if state.moves[d, EVICT_END] >= 0:
        _evict(static, state, buffer, state.moves[d, EVICT_END])
    if action == DROP:
        if writes:
            state.valid[buffer] = instr + 1
            state.end[buffer] = -1
    else:
        until = static.dec_until[d] if writes else instr
        if action == COPY or static.dec_makes[d]:
            if action == COPY:
                _book(static, state, start, instr - 1, static.buf_copy[buffer], False)
            else:
                start = instr
            top = offset + static.buf_size[buffer]
            place(state.rects, state.counts, offset, top, start, until, buffer, instr)
            state.offset[buffer] = offset
            state.end[buffer] = until
        elif until > state.end[buffer]:
            _hold(state, buffer, until)
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
    static, state = borrow(static), borrow(state)
    reached = state.scalars[POSITION]
    taken = state.actions[:reached].copy()
    while True:
        culprit = state.dirty[static.dec_buffer[state.scalars[POSITION]]]
        state.forced[culprit] = 1
        state.scalars[REWINDS] += 1
        _restart(static, state)
        for _ in range(culprit):  # what is noted of these stands
            _carry_out(static, state)
        _look(static, state, taken[culprit])
        while state.scalars[POSITION] < reached and state.mask.any():
            action = taken[state.scalars[POSITION]]
            if not state.mask[action]:
                action = DROP
                while not state.mask[action]:
                    action -= 1
            _apply(static, state, action)
            d = state.scalars[POSITION]
            _look(static, state, taken[d] if d < reached else ANY)
        state.scalars[REDONE] += state.scalars[POSITION]
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
    _look(static, state, ANY)
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
