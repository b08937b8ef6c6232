"""Random plans within the budget: the baseline that any method must beat."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import GOES_ON, OUTCOME, TIME, State, Static, reset, step
from ...methods.memory_mapping.best import Best


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
        time = _random_plan(best.static, best.state, rng)
        clock.evaluations += 1
        best.take(time, best.state.actions)
    return clock.solution(best.plan)


@njit(cache=True)
def _random_plan(static: Static, state: State, rng: np.random.Generator) -> int:
    """Play one random plan in `state` and return its time, ps."""
    static, state = borrow(static), borrow(state)
    reset(static, state)
    while state.scalars[OUTCOME] == GOES_ON:
        left = int(rng.random() * state.mask.sum())
        action = 0
        while state.mask[action] == 0 or left > 0:
            left -= state.mask[action]
            action += 1
        step(static, state, action)
    return int(state.scalars[TIME])
