"""HA, the baseline heuristic of VMR2L (EuroSys 2025, arXiv 2505.17359): first a VM, then its PM."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import OUTAGE, Cluster
from ...envs.vm_rescheduling.dynamics import (
    State,
    Static,
    copy_state,
    make_state,
    make_static,
    meets_sets,
)
from ...envs.vm_rescheduling.objective import goal_reached, value
from ...methods.vm_rescheduling.gains import NEVER, STEPS, Table, make_table
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.moves import SAME, make_move
from ...methods.vm_rescheduling.two_nodes import for_any_hosts

LARGEST_CORES = 16  # of a VM that the heuristic moves


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan as the published heuristic does (HA of VMR2L, EuroSys 2025, and its released code).

    Stage 1 picks the VM of at most 16 cores whose removal reduces its source's fragments most,
    stage 2 the destination on another PM whose fragments its arrival reduces most; ties go to the
    first in the instance's order. It stops when the two together gain nothing. For other objectives
    than the fragment rate, the objective's linearization takes the place of fragments.

    Unlike the released code, it skips VMs that may not move, and destinations without memory or
    against a deployment set; a picked VM without any destination ends the plan.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one move.
        seed: not used; nothing is random.

    Returns:
        The best prefix of the plan, int64 plies.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    state = copy_state(start)
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
    return finish(clock, static, start, np.array(plies[:kept], np.int64))


@njit(cache=True)
def _next_move(static: Static, state: State, table: Table, largest: int) -> tuple[float, int, int]:
    """Choose the next move.

    Args:
        static: the cluster.
        state: its state.
        table: gains of all moves.
        largest: most CPU of a VM that may be picked, in the instance's CPU unit.

    Returns:
        Gain in cores, VM, and destination node; the VM is -1 if no VM or no destination is left.
    """
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
