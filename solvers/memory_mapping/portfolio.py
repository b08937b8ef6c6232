"""The best of all methods, sharing the budget: the paper's "-prod"."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...methods.memory_mapping import threshold
from ...methods.memory_mapping.best import Best
from . import milp, xla_msa

SWEEP_SHARE, XLA_SHARE, MODEL_SHARE = 0.2, 0.05, 0.3


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by greedies and a threshold sweep, XLA's assignment, the mixed-integer program, and
    local search for the rest; each starts from the best plan so far.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan played.
        seed: of HiGHS and of the local search.
    """
    clock = budget.start()
    best = Best(instance, clock)
    threshold.search(best, SWEEP_SHARE * budget.seconds, coarse=True)
    best.try_wishes(xla_msa.assign(best.static, clock, XLA_SHARE * budget.seconds))
    bound = milp.prove(best, seed, max(0.0, clock.remaining - MODEL_SHARE * budget.seconds))
    return milp.finish(best, bound, seed)
