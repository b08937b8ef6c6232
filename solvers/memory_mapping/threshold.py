"""A threshold sweep: uses of the highest priority go to fast memory, with every threshold tried."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.threshold import search


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Sweep thresholds over several priorities; end when every threshold was tried.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan played.
        seed: not used; nothing is random.
    """
    clock = budget.start()
    best = Best(instance, clock)
    search(best)
    return clock.solution(best.plan)
