"""Clusters of other hosts than the methods are for: more than two NUMA nodes, VMs of unequal parts.

The methods count, price and encode hosts of one or two NUMA nodes, with VMs on one node or half on
each of two. A host of more nodes is given to them as several hosts of two; what keeps replicas on
different hosts then keeps them in different racks. VMs that such hosts cannot hold as they lie stay
where they are, and a greedy search on the cluster itself ends by moving those too. Where nothing
is lost that way (VMs on one node each, no move cap), a proof on the simpler cluster is one on the
cluster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numba import njit

from ...core.budget import Budget, Clock
from ...core.solution import Incumbent, Solution
from ...datasets.vm_rescheduling.instance import OUTAGE, Cluster
from ...datasets.vm_rescheduling.places import places_of
from ...envs.vm_rescheduling.dynamics import (
    MOVES,
    State,
    Static,
    is_legal,
    make_state,
    make_static,
    move,
)
from ...envs.vm_rescheduling.objective import goal_reached, value

Solve: TypeAlias = Callable[..., Solution]

SHARE = 0.7  # of the seconds, for the method; the greedy search that follows ends earlier or not
# What follows a method's last look at the clock grows with the cluster: it gets so much less time.
TAIL_A_VM_S, MOST_TAIL = 1e-6, 0.1  # seconds a VM, and the largest share of the budget
AT_ONCE = 50_000  # moves that are tried between two looks at the clock


@dataclass(frozen=True, slots=True)
class Simpler:
    """A cluster as the methods see it.

    Attributes:
        cluster: hosts of at most two NUMA nodes; VM i is VM i of the original, further ones stand
            for parts of VMs that stay.
        pm: int64 [Q]; original host of each of its hosts.
        first_node: int64 [Q]; original node that is node 0 of each of its hosts.
        exact: whether a plan of one is a plan of the other, of the same value.
    """

    cluster: Cluster
    pm: np.ndarray
    first_node: np.ndarray
    exact: bool


def for_any_hosts(solve: Solve) -> Solve:
    """Make a method for hosts of one or two NUMA nodes one for all hosts.

    Args:
        solve: the method.
    """

    @wraps(solve)
    def solved(instance: Cluster, budget: Budget, seed: int, **more: Path) -> Solution:
        tail = min(TAIL_A_VM_S * instance.n_vms, MOST_TAIL * budget.seconds)
        budget = dataclasses.replace(budget, seconds=budget.seconds - tail)
        if instance.is_plain:
            return solve(instance, budget, seed, **more)
        clock = budget.start()
        simpler = simplified(instance)
        share = 1.0 if simpler.exact else SHARE
        limit = dataclasses.replace(budget, seconds=max(1e-3, share * clock.remaining))
        before = clock.elapsed
        found = solve(simpler.cluster, limit, seed, **more)
        plan = translated(instance, simpler, found.actions)
        early = [
            Incumbent(one.seconds + before, translated(instance, simpler, one.actions))
            for one in found.incumbents
        ]
        if simpler.exact:
            return dataclasses.replace(found, actions=plan, incumbents=tuple(early))
        completed = _completed(instance, plan, clock)
        late = [] if len(completed) == len(plan) else [Incumbent(clock.elapsed, completed)]
        return Solution(completed, incumbents=(*early, *late))

    return solved


def simplified(cluster: Cluster) -> Simpler:
    """Return a cluster of hosts of at most two NUMA nodes that stands for another.

    Args:
        cluster: any cluster.
    """
    counts = -(-cluster.pm_nodes // 2)
    pm = np.repeat(np.arange(cluster.n_pms), counts)
    start = np.cumsum(counts) - counts
    first_node = 2 * (np.arange(len(pm)) - start[pm])
    flavors: dict[tuple[int, int, int], int] = {}  # CPU, memory, nodes
    rows: list[tuple[int, int, int]] = []  # flavor, host, node
    extra: list[tuple[int, int, int]] = []
    stays = np.zeros(cluster.n_vms, np.bool_)
    for vm, (kind, on, place) in enumerate(
        zip(cluster.vm_flavor.tolist(), cluster.vm_pm, cluster.vm_numa.tolist(), strict=True)
    ):
        parts = cluster.parts_of(kind)
        nodes = places_of(parts, cluster.n_nodes)[place]
        lie = [(start[on] + node // 2, node % 2) for node in nodes]
        pair = len(parts) == 2 and parts[0] == parts[1] and lie[0][0] == lie[1][0]
        stays[vm] = len(parts) > 1 and not pair
        first = (*parts[0], 2 if pair else 1)
        on_host, on_node = lie[0]
        rows.append((flavors.setdefault(first, len(flavors)), on_host, 0 if pair else on_node))
        if stays[vm]:
            for part, at in zip(parts[1:], lie[1:], strict=True):
                extra.append((flavors.setdefault((*part, 1), len(flavors)), *at))
    flavor, host, numa = np.array(rows + extra, np.int64).T
    demand = np.array(list(flavors), np.int64)
    pinned = np.concatenate([cluster.vm_pinned | stays, np.ones(len(extra), np.bool_)])
    wide = bool((cluster.pm_nodes > 2).any())
    by_rack, rack = cluster.set_by_rack, cluster.pm_rack[pm]
    mixed_sets = wide and by_rack.any() and not by_rack.all()
    if wide and not by_rack.any():
        by_rack, rack = np.ones_like(by_rack), pm
    elif mixed_sets:
        by_rack = np.ones_like(by_rack)
    free = ~cluster.vm_pinned & (cluster.pm_status[cluster.vm_pm] != OUTAGE)
    spread = cluster.flavor_nodes[cluster.vm_flavor] > 1
    lost = free & spread & (wide | stays)
    simple = Cluster(
        name=cluster.name,
        pm_ids=tuple(
            f"{cluster.pm_ids[on]}/{node}" for on, node in zip(pm, first_node, strict=True)
        ),
        pm_status=cluster.pm_status[pm],
        pm_rack=rack.astype(np.int64),
        numa_cpu=_pairs(cluster.numa_cpu, pm, first_node),
        numa_mem=_pairs(cluster.numa_mem, pm, first_node),
        flavor_names=tuple(f"{cpu}+{mem}x{nodes}" for cpu, mem, nodes in flavors),
        flavor_cpu=demand[:, 0],
        flavor_mem=demand[:, 1],
        flavor_nodes=demand[:, 2],
        vm_ids=(*cluster.vm_ids, *(f"{vm}+{cluster.name}" for vm in range(len(extra)))),
        vm_flavor=flavor,
        vm_pm=host,
        vm_numa=numa,
        vm_pinned=pinned,
        set_start=cluster.set_start,
        set_vms=cluster.set_vms,
        set_by_rack=by_rack,
        cpu_per_core=cluster.cpu_per_core,
        mnl=cluster.mnl,
        pm_move_cap=cluster.pm_move_cap,
        objective=cluster.objective,
        goal_rate=cluster.goal_rate,
        drain_pms=np.flatnonzero(np.isin(pm, cluster.drain_pms)),
        weights=cluster.weights,
        mode=cluster.mode,
        churn_per_min=cluster.churn_per_min,
    )
    restricted = wide and (cluster.objective == "mixed" or cluster.pm_move_cap > 0)
    # Parts that stay on a host to drain would be counted one by one.
    counted = cluster.objective == "drain" and len(extra) > 0
    exact = not (lost.any() or mixed_sets or restricted or counted)
    return Simpler(simple, pm, first_node, exact)


def _pairs(of_nodes: np.ndarray, pm: np.ndarray, first_node: np.ndarray) -> np.ndarray:
    """Return what two nodes of each host have, int64 [Q, 2]."""
    padded = np.pad(of_nodes, ((0, 0), (0, 1)))
    pairs: np.ndarray = padded[pm[:, None], first_node[:, None] + np.arange(2)]
    return pairs


def translated(cluster: Cluster, simpler: Simpler, actions: np.ndarray) -> np.ndarray:
    """Return a plan for the simpler cluster as one for the cluster; illegal moves are left out.

    Args:
        cluster: the original.
        simpler: what stands for it.
        actions: int64 plies.
    """
    static = make_static(cluster)
    state = make_state(cluster, static)
    plies: list[int] = []
    moves = np.asarray(actions, np.int64).ravel()
    for vm, dest in zip(moves[::2].tolist(), moves[1::2].tolist(), strict=False):
        if vm >= cluster.n_vms or goal_reached(static, state.totals):
            break
        host, node = divmod(dest, 2)
        pm, first = int(simpler.pm[host]), int(simpler.first_node[host])
        parts = cluster.parts_of(int(cluster.vm_flavor[vm]))
        way = (first, first + 1) if len(parts) == 2 else (first + node,)
        place = places_of(parts, cluster.n_nodes).index(way)
        if is_legal(static, state, vm, pm, place):
            move(static, state, vm, pm, place)
            plies += [vm, static.stride * pm + place]
    return np.array(plies, np.int64)


def _completed(cluster: Cluster, plan: np.ndarray, clock: Clock) -> np.ndarray:
    """Return a plan with moves added that improve it most, one after the other.

    Args:
        cluster: the cluster.
        plan: int64 plies, legal.
        clock: of the contender.
    """
    static = make_static(cluster)
    state = make_state(cluster, static)
    plies = plan.tolist()
    for vm, dest in zip(plies[::2], plies[1::2], strict=True):
        move(static, state, vm, *divmod(dest, static.stride))
    chunk = max(1, AT_ONCE // (static.stride * cluster.n_pms))
    while state.totals[MOVES] < static.mnl and not goal_reached(static, state.totals):
        best = (value(static, state.totals) - 1e-12, -1, -1)
        for first in range(0, cluster.n_vms, chunk):
            if clock.remaining <= 0.0:
                break
            found = _best_move(static, state, first, min(first + chunk, cluster.n_vms))
            best = min(best, found)
        if best[1] < 0:
            break
        move(static, state, best[1], *divmod(best[2], static.stride))
        plies += best[1:]
    return np.array(plies, np.int64)


@njit(cache=True)
def _best_move(static: Static, state: State, first: int, last: int) -> tuple[float, int, int]:
    """Return the objective after the best legal move of VMs first..last-1, its VM and destination.

    The state is as before at the end.
    """
    best, best_vm, best_dest = np.inf, -1, -1
    totals = state.totals.copy()
    for vm in range(first, last):
        source, was = state.vm_pm[vm], state.vm_numa[vm]
        for pm in range(len(static.pm_status)):
            for place in range(static.places[static.vm_flavor[vm]]):
                if not is_legal(static, state, vm, pm, place):
                    continue
                moves = state.pm_moves[source], state.pm_moves[pm]
                reached = np.inf
                # There and back in a loop: what `move` does is compiled once.
                for back in range(2):
                    move(static, state, vm, source if back else pm, was if back else place)
                    if not back:
                        reached = value(static, state.totals)
                state.pm_moves[source], state.pm_moves[pm] = moves
                state.totals[:] = totals
                if reached < best - 1e-12:
                    best, best_vm, best_dest = reached, vm, static.stride * pm + place
    return best, best_vm, best_dest
