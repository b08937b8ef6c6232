"""Greedy plans in one pass: on the fly, or by a knapsack of stays by density."""

from __future__ import annotations

from numba import njit

from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    COPY,
    DROP,
    GOES_ON,
    OUTCOME,
    TIME,
    State,
    Static,
    gain,
    reset,
    step,
)
from ...envs.memory_mapping.stays import find_stays, knapsack
from .best import Best
from .wishes import choose


def search(best: Best) -> None:
    """Make every greedy plan while the clock runs; `best` keeps the best one."""
    clock = best.clock
    for copies in (True, False):
        for always in (True, False):
            if clock.expired:
                return
            time = _on_the_fly(best.static, best.state, always, copies)
            clock.evaluations += 1
            best.take(time, best.state.actions)
    if not clock.expired:
        best.try_wishes(knapsack(best.static, find_stays(best.static)))


@njit(cache=True)
def _on_the_fly(static: Static, state: State, always: bool, copies: bool) -> int:
    """Use fast memory wherever that is legal and saves time in the instruction.

    Args:
        static: the program.
        state: holds the plan afterwards.
        always: whether to use fast memory where it saves no time now, too; a later use may profit.
        copies: whether copies are allowed.

    Returns:
        The plan's time, ps.
    """
    static, state = borrow(static), borrow(state)
    reset(static, state)
    while state.scalars[OUTCOME] == GOES_ON:
        action = choose(state, 1)
        if action != DROP and state.mask[DROP]:
            useless = not always and gain(static, state, action) <= 0
            if useless or (action == COPY and not copies):
                action = DROP
        step(static, state, action)
    return int(state.scalars[TIME])
