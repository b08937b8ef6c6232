"""The aggregated model by mixed-integer programming, with HiGHS."""

from __future__ import annotations

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...methods.vm_rescheduling.aggregated_search import plan_by_model, run_highs
from ...methods.vm_rescheduling.two_nodes import for_any_hosts


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan by the aggregated model with HiGHS on one thread.

    It begins with greedy plans, which also warm-start HiGHS. The status is "optimal" if the
    executed plan meets the proven bound of the model.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one plan executed, greedy or from the
            model.
        seed: draws the greedy plans and the order of moves, and seeds HiGHS.
    """
    return plan_by_model(instance, budget, seed, run_highs)
