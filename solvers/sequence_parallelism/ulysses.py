"""DeepSpeed-Ulysses: one degree for all batches, the smallest that the context fits."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.one_degree import full_groups, plan_by_degrees, static_degree
from ...methods.sequence_parallelism.planning import Best, plan_steps


def solve(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan with one degree, by the best of several packings, then by local search.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan built or a change tried.
        seed: draws the changes.
    """
    degree = static_degree(instance)

    def planner(best: Best, step: int, rng: np.random.Generator) -> None:
        plan_by_degrees(best, step, rng, np.array([degree]))

    return plan_steps(
        instance, budget, seed, planner, lambda work: full_groups(work, degree)
    ).solution()
