"""The best of all methods within one budget; compare mallocMuZero's "-prod" (arXiv 2305.07440)."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping import threshold
from ...methods.memory_mapping.best import Best
from . import milp, xla_msa

SWEEP_SHARE, XLA_SHARE, MODEL_SHARE = 0.2, 0.05, 0.3  # of the seconds


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by a portfolio of methods, each starting from the best plan so far.

    In turn: greedies and a threshold sweep, XLA's assignment, the mixed-integer program, and local
    search for the rest.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan played.
        seed: seeds HiGHS, and draws the changes of the local search.
    """
    clock = budget.start()
    best = Best(instance, clock)
    threshold.search(best, SWEEP_SHARE * budget.seconds, coarse=True)
    best.try_wishes(xla_msa.assign(best.static, clock, XLA_SHARE * budget.seconds))
    bound = milp.prove(best, seed, max(0.0, clock.remaining - MODEL_SHARE * budget.seconds))
    return milp.finish(best, bound, seed)
