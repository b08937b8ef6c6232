"""The best of all methods within one budget; compare mallocMuZero's "-prod" (arXiv 2305.07440)."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping import local_search, msa, threshold
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.proof import finish, is_met, prove

MSA_SHARE, SWEEP_SHARE, MODEL_SHARE = 0.5, 0.2, 0.3  # of the seconds


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by a portfolio of methods, each starting from the best plan so far.

    In turn: XLA's assignment, which is the quickest good plan of a long program, greedies and a
    threshold sweep, the mixed-integer program, and local search for the rest.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan played.
        seed: seeds HiGHS, and draws the changes of the local search.
    """
    clock = budget.start()
    best = Best(instance, clock)
    best.try_wishes(msa.assign(best.static, clock, MSA_SHARE * budget.seconds))
    threshold.search(best, SWEEP_SHARE * budget.seconds, coarse=True)
    bound = prove(best, seed, max(0.0, clock.remaining - MODEL_SHARE * budget.seconds))
    if not is_met(bound, best):
        local_search.improve(best, seed)
    return finish(best, bound)
