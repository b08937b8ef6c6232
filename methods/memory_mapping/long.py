"""Plans of long programs: played a slice at a time, with the clock looked at between slices.

A dead end takes the game back to the write that led there, and all decisions since are redone. In a
train step that is half of the program, so that a plan takes time quadratic in its length. Plans of
more than LONG decisions are mended instead: where a dead end is met, the wish that led there is
given up and the pass goes on as if slow memory had the data; passes are repeated until one meets no
dead end, which is a plan by the game's own rules. A pass that takes more than PASS_SHARE of the
seconds left has the rest of the program in slow memory, and so have the passes that follow.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    BACKUP,
    DEAD,
    DROP,
    GOES_ON,
    OUTCOME,
    POSITION,
    REDONE,
    TERMINATE,
    TIME,
    State,
    Static,
    reset,
    step,
)
from ...envs.memory_mapping.rings import NONE, carrying
from ...envs.memory_mapping.static import ENTRY
from ...envs.memory_mapping.stays import previous_uses
from .wishes import choose

LONG = 10_000  # decisions
SLICE = 500  # decisions between two looks at the clock, those that rewinds redo included
MOST_PASSES = 100
PASS_SHARE = 0.2  # of the seconds left; playing on in slow memory alone takes almost no time
NEVER = 1 << 62  # ps; later than any plan ends


def without_rewinds(static: Static) -> Static:
    """Return the program with the game ending at dead ends in place of going back."""
    return static._replace(dead_end=TERMINATE) if static.dead_end == BACKUP else static


@njit(cache=True)
def pass_dead_end(static: Static, state: State, wishes: np.ndarray, before: np.ndarray) -> None:
    """Give up the wish that led to a dead end, and go on as if slow memory had the data.

    Args:
        static: the program, without rewinds.
        state: at the dead end; changed in place.
        wishes: int8 [D]; changed in place.
        before: int64 [D]; `previous_uses` of the program.
    """
    at = state.scalars[POSITION]
    buffer = static.dec_buffer[at]
    culprit = state.dirty[buffer]
    ring = carrying(static.rings, static.dec_ring[at], static.dec_ring[at + 1], state.birth[buffer])
    if ring != NONE:  # its loop's first use decided that the writes in the loop are fast
        culprit = static.rings[ring, ENTRY]
    if culprit >= 0 and wishes[culprit]:
        wishes[culprit] = 0
    else:
        use = before[at]
        while use >= 0:
            wishes[use] = 0
            use = before[use]
    state.valid[buffer] = static.dec_instr[at]
    state.dirty[buffer] = -1
    state.mask[DROP] = 1
    state.scalars[OUTCOME] = GOES_ON


@njit(cache=True)
def _play_slice(
    static: Static, state: State, wishes: np.ndarray, before: np.ndarray, most: int
) -> int:
    """Play on by wishes until about `most` decisions are made, those redone included; past dead
    ends, whose number is returned.
    """
    static, state = borrow(static), borrow(state)
    met, until = 0, state.scalars[POSITION] + state.scalars[REDONE] + most
    while state.scalars[OUTCOME] == GOES_ON:
        if state.scalars[POSITION] + state.scalars[REDONE] >= until:
            break
        step(static, state, choose(state, wishes[state.scalars[POSITION]]))
        if state.scalars[OUTCOME] == DEAD:
            met += 1
            pass_dead_end(static, state, wishes, before)
    return met


def seconds_after_pass(clock: Clock) -> float:
    """Return the seconds that are to remain when a pass that begins now is over."""
    return (1 - PASS_SHARE) * clock.remaining


def play_within(static: Static, state: State, wishes: np.ndarray, clock: Clock) -> int:
    """Play wishes out from the start while there are seconds left.

    Args:
        static: the program.
        state: overwritten; its `actions` are the plan afterwards.
        wishes: int8 [D]; whether each decision's use should be in fast memory.
        clock: the run's.

    Returns:
        The plan's time, ps; NEVER if the seconds ended first.
    """
    before, long = previous_uses(static), len(wishes) > LONG
    if long:
        static, wishes = without_rewinds(static), wishes.copy()
    for _ in range(MOST_PASSES):
        met, least = 0, seconds_after_pass(clock)
        reset(static, state)
        while True:
            met += _play_slice(static, state, wishes, before, SLICE)
            if state.scalars[OUTCOME] != GOES_ON:
                break
            if clock.remaining <= 0:
                return NEVER
            if long and clock.remaining < least:
                wishes[state.scalars[POSITION] :] = 0
        if met == 0:
            return int(state.scalars[TIME])
    return NEVER
