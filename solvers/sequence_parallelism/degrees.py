"""Groups of one degree: DeepSpeed-Ulysses, and the best degree of each batch (FlexSP-BatchAda)."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.groups import kinds_of
from ...methods.sequence_parallelism.one_degree import full_groups, plan_by_degrees, static_degree
from ...methods.sequence_parallelism.planning import Best, plan_steps


def ulysses(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan with one degree, the smallest that the context fits; packings, then local search.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan built or a change tried.
        seed: draws the changes.
    """
    return _plan(instance, budget, seed, np.array([static_degree(instance)]))


def single_degree(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan each step with the degree that is best for it: by several packings, then local search.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan built or a change tried.
        seed: draws the changes.
    """
    return _plan(instance, budget, seed, np.unique(kinds_of(instance).degree))


def _plan(instance: TrainingBatch, budget: Budget, seed: int, degrees: np.ndarray) -> Solution:
    """Plan with the best of some degrees, int64 [D]."""
    first = static_degree(instance)

    def planner(best: Best, step: int, rng: np.random.Generator) -> None:
        plan_by_degrees(best, step, rng, degrees)

    return plan_steps(
        instance, budget, seed, planner, lambda work: full_groups(work, first)
    ).solution()
