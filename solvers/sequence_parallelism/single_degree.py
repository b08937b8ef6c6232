"""The best single degree of each batch (FlexSP-BatchAda), its packing tuned."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.one_degree import full_groups, plan_by_degrees, static_degree
from ...methods.sequence_parallelism.planning import Best, plan_steps


def _planner(best: Best, step: int, rng: np.random.Generator) -> None:
    plan_by_degrees(best, step, rng, np.unique(best.works[step].degree))


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
