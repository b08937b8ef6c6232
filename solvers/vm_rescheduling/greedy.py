"""Best-move greedy over all VMs and destinations, restarted with different tie-breaking."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import make_state, make_static
from ...methods.vm_rescheduling.greedy import search
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.two_nodes import for_any_hosts


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan by always making the move of the largest gain, restarted with different tie-breaking.

    In live mode it ends when several plans in a row are no better.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: draws the tie-breaking of all plans but the first.

    Returns:
        The best prefix of any plan, int64 plies.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    best, _ = search(instance, static, start, clock, np.random.default_rng(seed))
    return finish(clock, static, start, best)
