"""Random plans within the budget: the baseline that any method must beat."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    DEAD,
    DROP,
    GOES_ON,
    OUTCOME,
    POSITION,
    REDONE,
    TIME,
    State,
    Static,
    reset,
    step,
)
from ...envs.memory_mapping.stays import previous_uses
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.long import LONG, SLICE, pass_dead_end, without_rewinds


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Play random plans until the budget ends: each action uniform over the legal ones.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: draws the actions.
    """
    clock = budget.start()
    best = Best(instance, clock)
    rng = np.random.default_rng(seed)
    while not clock.expired:
        _try_random(best, rng)
    return clock.solution(best.plan)


def _try_random(best: Best, rng: np.random.Generator) -> None:
    """Play a random plan while there are seconds left."""
    static, state, clock = best.static, best.state, best.clock
    long = len(best.plan) > LONG
    if long:
        static = without_rewinds(static)
    wishes, before = np.zeros(len(best.plan), np.int8), previous_uses(static)
    reset(static, state)
    while state.scalars[OUTCOME] == GOES_ON:
        _random_slice(static, state, rng, wishes, before, SLICE)
        if clock.remaining <= 0 and state.scalars[OUTCOME] == GOES_ON:
            return
    if long:
        best.try_wishes(wishes)
    else:
        clock.evaluations += 1
        best.take(int(state.scalars[TIME]), state.actions)


@njit(cache=True)
def _random_slice(
    static: Static,
    state: State,
    rng: np.random.Generator,
    wishes: np.ndarray,
    before: np.ndarray,
    most: int,
) -> None:
    """Play on at random, past dead ends.

    Args:
        static: the program.
        state: played on.
        rng: draws the actions.
        wishes: int8 [D]; gets 1 for fast memory, but 0 for what led to a dead end.
        before: int64 [D]; `previous_uses` of the program.
        most: decisions to make, about, those redone included.
    """
    static, state = borrow(static), borrow(state)
    until = state.scalars[POSITION] + state.scalars[REDONE] + most
    while state.scalars[OUTCOME] == GOES_ON:
        if state.scalars[POSITION] + state.scalars[REDONE] >= until:
            return
        left = int(rng.random() * state.mask.sum())
        action = 0
        while state.mask[action] == 0 or left > 0:
            left -= state.mask[action]
            action += 1
        wishes[state.scalars[POSITION]] = action != DROP
        step(static, state, action)
        if state.scalars[OUTCOME] == DEAD:
            pass_dead_end(static, state, wishes, before)
