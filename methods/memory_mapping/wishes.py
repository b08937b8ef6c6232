"""Plans by wishes: which uses should be in fast memory, played out by the game's rules.

Where a use is legal in fast memory at all, one action puts it there: NoCopy for what is there or is
being made, Copy for the rest. A plan is therefore one bit a decision. A wish that is not legal at
its decision falls back to the other choice, so every vector of wishes plays out to a plan.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
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
    """Turn a wish into a legal action at the current decision.

    Args:
        state: the game; its mask is read.
        wish: 1 for fast memory, 0 for slow.

    Returns:
        DROP, NO_COPY or COPY.
    """
    if state.mask[DROP] and not wish:
        return DROP
    if state.mask[NO_COPY]:
        return NO_COPY
    if state.mask[COPY]:
        return COPY
    return DROP


@njit(cache=True)
def play_wishes(static: Static, state: State, wishes: np.ndarray) -> int:
    """Play wishes out from the start.

    Args:
        static: the program.
        state: overwritten; its `actions` are the plan afterwards.
        wishes: int8 [D]; whether each decision's use should be in fast memory.

    Returns:
        The plan's time, ps.
    """
    static, state = borrow(static), borrow(state)
    reset(static, state)
    while state.scalars[OUTCOME] == GOES_ON:
        step(static, state, choose(state, wishes[state.scalars[POSITION]]))
    return int(state.scalars[TIME])


def wishes_of(plan: np.ndarray) -> np.ndarray:
    """Read the wishes, int8 [D], off a plan, int64 [D]."""
    wishes: np.ndarray = (plan != DROP).astype(np.int8)
    return wishes
