"""Greedy plans in one pass: on the fly, or by a knapsack of stays by density."""

from __future__ import annotations

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
    TIME,
    State,
    Static,
    gain,
    reset,
    step,
)
from ...envs.memory_mapping.stays import find_stays, knapsack, previous_uses
from .best import Best
from .long import LONG, SLICE, pass_dead_end, without_rewinds
from .wishes import choose


def search(best: Best) -> None:
    """Make every greedy plan while the clock runs; `best` keeps the best one."""
    clock = best.clock
    for copies in (True, False):
        for always in (True, False):
            if clock.expired:
                return
            _try_on_the_fly(best, always, copies)
    if not clock.expired:
        best.try_wishes(knapsack(best.static, find_stays(best.static)))


def _try_on_the_fly(best: Best, always: bool, copies: bool) -> None:
    """Make a greedy plan on the fly, while there are seconds left; see `_on_the_fly`."""
    static, state, clock = best.static, best.state, best.clock
    long = len(best.plan) > LONG
    if long:
        static = without_rewinds(static)
    wishes, before = np.zeros(len(best.plan), np.int8), previous_uses(static)
    reset(static, state)
    while state.scalars[OUTCOME] == GOES_ON:
        _on_the_fly(static, state, always, copies, wishes, before, SLICE)
        if clock.remaining <= 0 and state.scalars[OUTCOME] == GOES_ON:
            return
    if long:
        best.try_wishes(wishes)
    else:
        clock.evaluations += 1
        best.take(int(state.scalars[TIME]), state.actions)


@njit(cache=True)
def _on_the_fly(
    static: Static,
    state: State,
    always: bool,
    copies: bool,
    wishes: np.ndarray,
    before: np.ndarray,
    most: int,
) -> None:
    """Use fast memory wherever that is legal and saves time in the instruction.

    Args:
        static: the program.
        state: played on, past dead ends.
        always: whether to use fast memory where it saves no time now, too; a later use may profit.
        copies: whether copies are allowed.
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
