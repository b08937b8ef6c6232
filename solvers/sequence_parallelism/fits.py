"""First fit and best fit, longest first: groups are filled by tokens, whatever time they take."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.packing import FIRST, LEAST_ROOM, placed
from ...methods.sequence_parallelism.planning import plan_steps


def first_fit(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Put each sequence into the first group with room.

    Args:
        instance: the batch.
        budget: of one plan.
        seed: not needed.
    """
    return plan_steps(instance, budget, seed, None, lambda work: placed(work, FIRST)).solution()


def best_fit(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Put each sequence into the group with least room that it fits.

    Args:
        instance: the batch.
        budget: of one plan.
        seed: not needed.
    """
    return plan_steps(
        instance, budget, seed, None, lambda work: placed(work, LEAST_ROOM)
    ).solution()
