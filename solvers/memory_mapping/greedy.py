"""One-pass greedies: on the fly, and a knapsack by density; the best of them."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.greedy import search


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by each greedy in turn and keep the best.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: not used; no greedy draws anything.
    """
    clock = budget.start()
    best = Best(instance, clock)
    search(best)
    return clock.solution(best.plan)
