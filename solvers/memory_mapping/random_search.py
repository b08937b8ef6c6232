"""Random plans within the budget: the baseline that any method must beat."""

from __future__ import annotations

from functools import partial

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
    State,
    Static,
    step,
)
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.long import pass_dead_end


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
        best.try_slices(partial(_random_slice, rng))
    return clock.solution(best.plan)


@njit(cache=True)
def _random_slice(
    rng: np.random.Generator,
    static: Static,
    state: State,
    wishes: np.ndarray,
    before: np.ndarray,
    most: int,
) -> None:
    """Play on at random, past dead ends.

    Args:
        rng: draws the actions.
        static: the program.
        state: played on.
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
