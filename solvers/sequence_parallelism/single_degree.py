"""The best single degree of each batch (FlexSP-BatchAda), by the best of several packings."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.one_degree import (
    TRIES,
    full_groups,
    plans_of_degree,
    search_degree,
    static_degree,
)
from ...methods.sequence_parallelism.planning import Best, plan_steps


def _planner(best: Best, step: int, rng: np.random.Generator) -> None:
    work = best.works[step]
    # Each packing of all degrees, then the next.
    degrees = [plans_of_degree(work, int(degree)) for degree in np.unique(work.degree)]
    for plan in (next(plans) for _ in range(TRIES) for plans in degrees):
        if plan is not None:
            best.offer(step, plan)
        best.clock.evaluations += 1
        if best.left <= 0.0:
            break
    search_degree(best, step, rng)


def solve(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan each step with the degree that is best for it: by several packings, then local search.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan built or a change tried.
        seed: draws the changes.
    """
    degree = static_degree(instance)
    return plan_steps(
        instance, budget, seed, _planner, lambda work: full_groups(work, degree)
    ).solution()
