"""The best of all methods, sharing the budget: the paper's "-prod"."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from . import local_search, milp, threshold, xla_msa
from .best import Best

SWEEP_SHARE, XLA_SHARE, MODEL_SHARE = 0.2, 0.05, 0.3


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Greedies and a threshold sweep, XLA's assignment, the mixed-integer program, and
    local search for the rest; each starts from the best plan so far. One evaluation is
    one plan played.
    """
    clock = budget.start()
    best = Best(instance, clock)
    threshold.search(best, SWEEP_SHARE * budget.seconds, coarse=True)
    best.try_wishes(xla_msa.assign(best.static, clock, XLA_SHARE * budget.seconds))
    bound = milp.prove(best, seed, max(0.0, clock.remaining - MODEL_SHARE * budget.seconds))
    proved = best.speedup_of(best.time) >= bound * (1 - 2 * milp.SAFETY)
    if not proved:
        local_search.improve(best, seed)
    proved = best.speedup_of(best.time) >= bound * (1 - 2 * milp.SAFETY)
    return clock.solution(best.plan, "optimal" if proved else "feasible", bound)
