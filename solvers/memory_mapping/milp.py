"""The relaxed game by mixed-integer programming on HiGHS, its points replayed in the game.

The bound is the relaxation's: it holds for every plan, whether or not the point can be played.
"""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping import local_search, threshold
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.proof import finish, is_met, prove

SWEEP_SHARE, SEARCH_SHARE, POLISH_SHARE = 0.1, 0.1, 0.1  # of the budget


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by the relaxation with HiGHS on one thread, its points replayed in the game.

    A threshold sweep and a short local search come first; local search from the best plan uses the
    rest. The status is "optimal" if the plan meets the bound.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan played.
        seed: seeds HiGHS, and draws the changes of the local search.
    """
    clock = budget.start()
    best = Best(instance, clock)
    threshold.search(best, SWEEP_SHARE * budget.seconds, coarse=True)
    local_search.improve(best, seed, SEARCH_SHARE)
    bound = prove(best, seed, POLISH_SHARE * budget.seconds)
    if not is_met(bound, best):
        local_search.improve(best, seed + 1)
    return finish(best, bound)
