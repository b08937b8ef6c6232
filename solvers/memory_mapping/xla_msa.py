"""Memory-space assignment (MSA) like XLA's, its outcome replayed in the game."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.msa import assign

SHARE = 0.5  # of the seconds for the assignment; the rest is for its replay


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan as XLA's memory-space assignment would; values the budget leaves no time for stay slow.

    Args:
        instance: the program.
        budget: seconds and evaluations; the one evaluation is the replay of the assignment.
        seed: not used; nothing is random.
    """
    clock = budget.start()
    best = Best(instance, clock)
    best.try_wishes(assign(best.static, clock, SHARE * budget.seconds))
    return clock.solution(best.plan)
