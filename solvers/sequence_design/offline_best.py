"""The best distinct sequences of the offline set: the baseline of not searching at all."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.designs import best_offline
from ...methods.sequence_design.pool import hand_in


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Return the best distinct measured sequences.

    Args:
        instance: the design task.
        budget: not spent.
        seed: not used; nothing is random.
    """
    clock = budget.start()
    return hand_in(instance, best_offline(instance, instance.batch_size), clock)
