"""What a placement does: times, copies and address ranges, compiled.

Pure functions over `Static` (the program, as arrays) and a preallocated `State`. The environment,
the solvers and the agents' searches all call these. All times are whole picoseconds, so that sums
are exact in any order; docs/memory_mapping.md has the rules, rules.py carries them out.

A typical loop: `static = make_static(program)`, `state = make_state(static)`, then, until
`state.scalars[OUTCOME] != GOES_ON`, `step(static, state, action)` with `state.mask[action] == 1`.
`state.actions` is then the plan as rewinds left it: it replays, without any, to the same end.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..borrowed import borrow
from .rings import NONE, carrying, finds_slow, leave
from .rules import (
    book,
    carry_out_looped,
    carry_out_plain,
    idle,
    look_looped,
    look_plain,
)
from .state import (
    ACTION_NAMES,
    COPY,
    COPY_RING,
    COPY_START,
    DEAD,
    DROP,
    EVICT_END,
    FINISHED,
    GOES_ON,
    NEVER,
    NO_COPY,
    OFFSET,
    OUTCOME,
    P_COPY_OFFSET,
    P_COPY_RING,
    P_COPY_START,
    P_EVICT_END,
    P_OFFSET,
    POSITION,
    REDONE,
    REWINDS,
    STALL,
    TIME,
    State,
    copy_state,
    empty_state,
    restore_state,
)
from .static import BACKUP, ENTRY, RESERVE, TERMINATE, Static, make_static

__all__ = [  # callers find all of the game's names here
    "ACTION_NAMES", "BACKUP", "COPY", "COPY_RING", "COPY_START", "DEAD", "DROP", "EVICT_END",
    "FINISHED", "GOES_ON", "NO_COPY", "OFFSET", "OUTCOME", "POSITION", "REDONE", "RESERVE",
    "REWINDS", "STALL", "TERMINATE", "TIME", "State", "Static", "copy_state", "gain", "idle",
    "make_state", "make_static", "play", "reset", "restore_state", "step",
]  # fmt: skip

ANY = -1  # no action is taken, or none is wanted before the others


def make_state(static: Static) -> State:
    """The state before any decision."""
    state = empty_state(static)
    reset(static, state)
    return state


@njit(cache=True, inline="always")
def _look(static: Static, state: State, wanted: int) -> None:
    if static.loops:
        look_looped(static, state, wanted)
    else:
        look_plain(static, state, wanted)


@njit(cache=True, inline="always")
def _carry_out(static: Static, state: State) -> None:
    if static.loops:
        carry_out_looped(static, state)
    else:
        carry_out_plain(static, state)


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
    step(static, state, np.int64(ANY))  # for a literal, step would be compiled a second time


@njit(cache=True)
def _restart(static: Static, state: State) -> None:
    """The start, but for what is kept of each decision; nothing is looked up."""
    state.scalars[POSITION] = 0
    state.scalars[TIME] = static.all_slow
    state.counts[:] = 0
    state.slow[:] = static.instr_slow
    state.fast[:] = 0
    state.booked[:] = 0
    for instr in range(len(state.booked)):
        state.idle_before[instr] = instr - 1
        state.idle_after[instr] = instr + 1
    for buffer in range(len(state.valid)):
        state.valid[buffer] = 0 if static.buf_at_start[buffer] else NEVER
    state.offset[:] = -1
    state.birth[:] = -1
    state.end[:] = -1
    state.used[:] = -1
    state.dirty[:] = -1


@njit(cache=True, inline="always")
def _note(state: State, action: int) -> None:
    """Notes a legal action at POSITION, and what it moves; the caller has `_look`ed."""
    d, pending = state.scalars[POSITION], state.pending
    state.actions[d] = action
    state.moves[d, EVICT_END] = pending[P_EVICT_END] if action != NO_COPY else -1
    state.moves[d, COPY_START] = pending[P_COPY_START] if action == COPY else -1
    state.moves[d, COPY_RING] = pending[P_COPY_RING] if action == COPY else -1
    offset = pending[P_COPY_OFFSET] if action == COPY else pending[P_OFFSET]
    state.moves[d, OFFSET] = offset if action != DROP else -1


@njit(cache=True)
def _finish(static: Static, state: State) -> None:
    """Writes back the outputs that slow memory lacks; what finds no idle time stalls the end."""
    last = len(static.instr_slow) - 1
    for d in range(len(static.dec_instr)):
        buffer = static.dec_buffer[d]
        if static.buf_at_end[buffer] and state.dirty[buffer] == d:
            first = leave(static.instr_loop, static.loop_rows, static.dec_instr[d], last + 1) + 1
            left = book(static, state, first, last, static.buf_copy[buffer], True)
            state.moves[d, EVICT_END] = last
            state.scalars[STALL] += left
            state.scalars[TIME] += left
    state.scalars[OUTCOME] = FINISHED


@njit(cache=True)
def _culprit(static: Static, state: State) -> int:
    """The decision to blame for the dead end at POSITION: the fast write that nothing can be done
    about now, or the first use in a loop that decided on it.
    """
    culprit = state.dirty[static.dec_buffer[state.scalars[POSITION]]]
    first, end = static.dec_ring[culprit], static.dec_ring[culprit + 1]
    birth = state.birth[static.dec_buffer[state.scalars[POSITION]]]
    ring = carrying(static.rings, first, end, birth)
    return int(static.rings[ring, ENTRY] if ring != NONE else culprit)


@njit(cache=True)
def step(static: Static, state: State, action: int) -> int:
    """Takes a legal action at POSITION; returns the time saved by it, ps (negative after a rewind).

    The time saved over a whole episode is all_slow - TIME at its end. At a dead end, policy
    terminate sets OUTCOME to DEAD; backup rewinds, and the game goes on where it was. A rewind goes
    back to the culprit of the dead end, forces Drop there, and takes the decisions since again: as
    before where that is legal, else Drop, NoCopy or Copy. With ANY for the action, none is taken,
    and the legal ones at POSITION are found.
    """
    static, state = borrow(static), borrow(state)
    before = state.scalars[TIME]
    taken, culprit = state.actions[:0], -1  # what a rewind takes again, and from where
    decided = action != ANY
    if decided:
        _note(state, action)
    while True:  # one loop, so that what is laid out here is laid out once
        if decided:
            _carry_out(static, state)
        decided = True
        d = state.scalars[POSITION]
        if d < culprit:  # what is noted of those before stands
            continue
        again = d < len(taken)
        _look(static, state, taken[d] if again else ANY)
        if again and state.mask.any():
            action = taken[d]
            if not state.mask[action]:
                action = DROP
                while not state.mask[action]:
                    action -= 1
            _note(state, action)
            continue
        if culprit >= 0:
            state.scalars[REDONE] += d
        if d == len(static.dec_instr):
            _finish(static, state)
        elif not state.mask.any():
            if static.dead_end != TERMINATE:
                if culprit < 0:
                    taken = state.actions[:d].copy()
                culprit = _culprit(static, state)
                state.forced[culprit] = 1
                state.scalars[REWINDS] += 1
                _restart(static, state)
                decided = False
                continue
            state.scalars[OUTCOME] = DEAD
        return int(before - state.scalars[TIME])


@njit(cache=True)
def gain(static: Static, state: State, action: int) -> int:
    """The time that an action at POSITION saves in its own instruction, ps; 0 for Drop."""
    if action == DROP:
        return 0
    d = state.scalars[POSITION]
    instr = static.dec_instr[d]
    slow, fast, compute = state.slow[instr], state.fast[instr], static.instr_compute[instr]
    birth = state.pending[P_COPY_START] if action == COPY else state.birth[static.dec_buffer[d]]
    doubly = (
        static.loops
        and not static.dec_makes[d]
        and finds_slow(static.rings, static.dec_ring[d], static.dec_ring[d + 1], birth)
    )
    through = static.dec_through[d] if doubly or static.dead_end == RESERVE else 0
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
