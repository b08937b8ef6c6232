"""HA, the heuristic of VMR2L (EuroSys 2025): a VM, then its destination."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import OUTAGE, Cluster
from ...envs.vm_rescheduling.dynamics import (
    State,
    Static,
    make_state,
    make_static,
    meets_sets,
)
from ...envs.vm_rescheduling.objective import goal_reached, value
from ...methods.vm_rescheduling.moves import NEVER, SAME, STEPS, Table, make_move, make_table

LARGEST_CORES = 16


def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plans as the published heuristic does; the seed plays no part.

    Stage 1 picks the VM of at most 16 cores whose removal reduces its source's fragments most,
    stage 2 the destination on another PM whose fragments the VM's arrival reduces most; of equals
    the first in the instance's order. It stops when the two together gain nothing. For the other
    objectives the fragments are replaced by the objective's value.

    It differs from the published code in what that code does not know: VMs that may not move and
    destinations without memory or against a deployment set are passed over; a picked VM that has
    no destination at all ends the plan. One evaluation is one move.
    """
    clock = budget.start()
    static = make_static(instance)
    state = make_state(instance, static)
    table = make_table(instance, static, state, np.zeros(STEPS))
    best_value = value(static, state.totals)
    plies: list[int] = []
    kept = 0
    while (
        len(plies) < 2 * instance.mnl
        and not clock.expired
        and not goal_reached(static, state.totals)
    ):
        gain, vm, to = _next_move(static, state, table, LARGEST_CORES * instance.cpu_per_core)
        clock.evaluations += 1
        if vm < 0 or gain <= SAME:
            break
        make_move(static, state, table, vm, to)
        plies += [vm, to]
        if value(static, state.totals) < best_value - 1e-12:
            best_value, kept = value(static, state.totals), len(plies)
    return clock.solution(np.array(plies[:kept], np.int64))


@njit(cache=True)
def _next_move(static: Static, state: State, table: Table, largest: int) -> tuple[float, int, int]:
    """Gain, VM and destination of the next move; the VM is -1 if none is left to pick."""
    best, picked = NEVER, -1
    for vm in range(len(static.vm_flavor)):
        flavor = static.vm_flavor[vm]
        if static.vm_pinned[vm] or static.pm_status[state.vm_pm[vm]] == OUTAGE:
            continue
        if static.flavor_cpu[flavor] * static.flavor_nodes[flavor] > largest:
            continue
        gain = table.leave[flavor, 2 * state.vm_pm[vm] + state.vm_numa[vm]]
        if gain > best + SAME:
            best, picked = gain, vm
    if picked < 0:
        return NEVER, -1, -1
    flavor, source = static.vm_flavor[picked], state.vm_pm[picked]
    best_enter, to = NEVER, -1
    for node in range(table.enter.shape[1]):
        gain = table.enter[flavor, node]
        better = gain > best_enter + SAME and node // 2 != source
        if better and meets_sets(static, state, picked, node // 2):
            best_enter, to = gain, node
    return (best + best_enter, picked, to) if to >= 0 else (NEVER, -1, -1)
