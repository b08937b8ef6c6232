"""Column generation: prices, patterns worth having at them, and an exact choice among these."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...methods.vm_rescheduling.columns import generate_columns
from ...methods.vm_rescheduling.two_nodes import for_any_hosts


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan by column generation from rough prices.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one master solved in whole numbers.
        seed: draws the order of moves, and the local search that follows if nothing is proven.
    """
    return generate_columns(instance, budget.start(), seed)
