"""Local search: limits of micro-batches, then moves, swaps and groups formed anew."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.local_search import search
from ...methods.sequence_parallelism.planning import plan_steps


def solve(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan by local search until the budget is spent.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan built or a change tried.
        seed: draws the changes.
    """
    return plan_steps(instance, budget, seed, search).solution()
