"""Longest first, each sequence where it takes least device time within limits of micro-batches."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.limits import sweep
from ...methods.sequence_parallelism.planning import Best, plan_steps


def _planner(best: Best, step: int, _: np.random.Generator) -> None:
    sweep(best, step)


def solve(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan greedily under a few dozen limits, and keep the best.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan.
        seed: not needed.
    """
    return plan_steps(instance, budget, seed, _planner).solution()
