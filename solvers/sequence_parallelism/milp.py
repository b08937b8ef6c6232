"""A mixed-integer program over levels of micro-batches' times, with a proven bound, by HiGHS.

Not the program of FlexSP: groups of a kind and micro-batches of a level are counted, not listed,
so that no symmetry is left and the whole step is one program; see
methods/sequence_parallelism/bounds.py. Its points are a relaxation's: plans are made with their
groups and times, and annealed.
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.levels import prove
from ...methods.sequence_parallelism.local_search import search
from ...methods.sequence_parallelism.planning import Best, plan_steps

SEARCH_SHARE = 0.1  # of a step's time, for the plan to start from


def solve(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan by local search, then prove a bound and look for plans near it.

    The status is "optimal" if the plan meets the bound.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan built or a change tried.
        seed: draws the changes, and seeds HiGHS.
    """
    bounds: list[float] = []

    def planner(best: Best, step: int, rng: np.random.Generator) -> None:
        until = best.until
        best.until -= (1 - SEARCH_SHARE) * best.left
        search(best, step, rng)
        best.until = until
        bounds.append(prove(best, step, rng))
        if bounds[-1] < best.times[step]:
            search(best, step, rng)

    best = plan_steps(instance, budget, seed, planner)
    return best.solution(sum(bounds))
