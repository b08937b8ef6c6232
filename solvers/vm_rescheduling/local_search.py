"""Large-neighborhood search: undo some moves of a plan, replay the rest, complete greedily."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...methods.vm_rescheduling.local_search import search
from ...methods.vm_rescheduling.two_nodes import for_any_hosts


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan by large-neighborhood search; in live mode it ends once it stops improving.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one plan completed.
        seed: draws the moves undone and the tie-breaking of completions.
    """
    return search(instance, budget.start(), seed)
