"""The best of several greedy plans: on the fly, and a knapsack by density."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.greedy import search


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Make each greedy plan in turn and return the best.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: not used; nothing is random.
    """
    clock = budget.start()
    best = Best(instance, clock)
    search(best)
    return clock.solution(best.plan)
