"""Greedy plans in one pass: on the fly, or by a knapsack of stays by density."""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit

from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    COPY,
    DEAD,
    DROP,
    GOES_ON,
    OUTCOME,
    POSITION,
    REDONE,
    State,
    Static,
    gain,
    step,
)
from ...envs.memory_mapping.stays import find_stays, knapsack
from .best import Best
from .long import pass_dead_end
from .wishes import choose


def search(best: Best) -> None:
    """Make every greedy plan while the clock runs; `best` keeps the best one."""
    clock = best.clock
    for copies in (True, False):
        for always in (True, False):
            if clock.expired:
                return
            best.try_slices(partial(_on_the_fly, always, copies))
    if not clock.expired:
        best.try_wishes(knapsack(best.static, find_stays(best.static)))


@njit(cache=True)
def _on_the_fly(
    always: bool,
    copies: bool,
    static: Static,
    state: State,
    wishes: np.ndarray,
    before: np.ndarray,
    most: int,
) -> None:
    """Use fast memory wherever that is legal and saves time in the instruction.

    Args:
        always: whether to use fast memory where it saves no time now, too; a later use may profit.
        copies: whether copies are allowed.
        static: the program.
        state: played on, past dead ends.
        wishes: int8 [D]; gets 1 for fast memory, but 0 for what led to a dead end.
        before: int64 [D]; `previous_uses` of the program.
        most: decisions to make, about, those redone included.
    """
    static, state = borrow(static), borrow(state)
    until = state.scalars[POSITION] + state.scalars[REDONE] + most
    while state.scalars[OUTCOME] == GOES_ON:
        if state.scalars[POSITION] + state.scalars[REDONE] >= until:
            return
        action = choose(state, 1)
        if action != DROP and state.mask[DROP]:
            useless = not always and gain(static, state, action) <= 0
            if useless or (action == COPY and not copies):
                action = DROP
        wishes[state.scalars[POSITION]] = action != DROP
        step(static, state, action)
        if state.scalars[OUTCOME] == DEAD:
            pass_dead_end(static, state, wishes, before)
