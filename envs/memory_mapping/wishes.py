"""Plans by wishes: which uses should be in fast memory, played out by the game's rules.

Where a use is legal in fast memory at all, one action puts it there: NoCopy for what is there or is
being made, Copy for the rest. A plan is therefore one bit a decision. A wish that is not legal
where it stands falls back to the other choice, so every vector of wishes plays out to a plan.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..borrowed import borrow
from .dynamics import (
    COPY,
    DROP,
    GOES_ON,
    NO_COPY,
    OUTCOME,
    POSITION,
    TIME,
    State,
    Static,
    reset,
    step,
)


@njit(cache=True, inline="always")
def choose(state: State, wish: int) -> int:
    """The action that a wish comes to at POSITION."""
    if state.mask[DROP] and not wish:
        return DROP
    if state.mask[NO_COPY]:
        return NO_COPY
    if state.mask[COPY]:
        return COPY
    return DROP


@njit(cache=True)
def play_wishes(static: Static, state: State, wishes: np.ndarray) -> int:
    """Plays wishes [D] from the start; returns the time, ps. `state.actions` is the plan."""
    static, state = borrow(static), borrow(state)
    reset(static, state)
    while state.scalars[OUTCOME] == GOES_ON:
        step(static, state, choose(state, wishes[state.scalars[POSITION]]))
    return int(state.scalars[TIME])


def wishes_of(plan: np.ndarray) -> np.ndarray:
    """Actions [D] as wishes, int8 [D]."""
    wishes: np.ndarray = (plan != DROP).astype(np.int8)
    return wishes
