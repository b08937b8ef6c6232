"""What decisions change in a game of memory mapping, as arrays that compiled code shares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import literal_unroll, njit

from ..borrowed import borrow
from ..packed import Matrix
from .ranges import N_LIVE, N_PAST
from .static import Static

COPY, NO_COPY, DROP = range(3)
ACTION_NAMES = ("copy", "no_copy", "drop")
GOES_ON, FINISHED, DEAD = range(3)
# Columns of State.scalars.
# REDONE counts the decisions that rewinds carried out again.
POSITION, TIME, OUTCOME, REWINDS, REDONE, STALL = range(6)
# Columns of State.moves.
# COPY_RING is the ring of the outermost loop that a copy is made before, -1 for a copy that is made
# in every execution.
COPY_START, EVICT_END, OFFSET, COPY_RING = range(4)
# Entries of State.pending: where the actions open now would put things.
P_COPY_START, P_COPY_OFFSET, P_EVICT_END, P_OFFSET, P_COPY_RING = range(5)
NEVER = 1 << 40


class State(NamedTuple):
    """What decisions change; copy with `copy_state`."""

    scalars: np.ndarray  # int64 [6]; POSITION (decision to take), TIME (undecided counts as slow)..
    mask: np.ndarray  # int64 [3]; the legal actions at POSITION
    pending: np.ndarray  # int64 [5]
    actions: np.ndarray  # int64 [D]; as taken, -1 from POSITION on
    forced: np.ndarray  # int64 [D]; 1 where a rewind forces Drop
    moves: Matrix  # int64 [D, 4]; copy's start, eviction's end, offset, copy's ring; -1 where none
    slow: np.ndarray  # int64 [I]; slow memory's time of the instruction's own operands
    fast: np.ndarray  # int64 [I]; fast memory's time
    booked: np.ndarray  # int64 [I]; slow memory's time booked by copies
    idle_before: (
        np.ndarray
    )  # int64 [I]; where to look backward if it has no idle time; see rules.py
    idle_after: np.ndarray  # int64 [I]; where to look forward
    valid: np.ndarray  # int64 [B]; first instruction with a valid slow copy, NEVER for none
    offset: np.ndarray  # int64 [B]; of the fast copy
    birth: np.ndarray  # int64 [B]; instruction that the fast copy is there since
    end: np.ndarray  # int64 [B]; last instruction the fast copy is held for, -1 for none
    used: np.ndarray  # int64 [B]; last instruction that used the fast copy
    dirty: np.ndarray  # int64 [B]; the decision whose fast write slow memory lacks, -1 for none
    counts: np.ndarray  # int64 [3]; of the address ranges
    rects: Matrix  # int64 [5, D+1]; address ranges over instructions; see ranges.py


def empty_state(static: Static) -> State:
    """The arrays of a state, all zeros."""
    d, i, b = len(static.dec_instr), len(static.instr_slow), len(static.buf_size)
    return State(
        scalars=np.zeros(6, np.int64),
        mask=np.zeros(3, np.int64),
        pending=np.zeros(5, np.int64),
        actions=np.zeros(d, np.int64),
        forced=np.zeros(d, np.int64),
        moves=np.zeros((d, 4), np.int64),
        slow=np.zeros(i, np.int64),
        fast=np.zeros(i, np.int64),
        booked=np.zeros(i, np.int64),
        idle_before=np.zeros(i, np.int64),
        idle_after=np.zeros(i, np.int64),
        valid=np.zeros(b, np.int64),
        offset=np.zeros(b, np.int64),
        birth=np.zeros(b, np.int64),
        end=np.zeros(b, np.int64),
        used=np.zeros(b, np.int64),
        dirty=np.zeros(b, np.int64),
        counts=np.zeros(3, np.int64),
        rects=np.zeros((5, d + 1), np.int64),
    )


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
