"""Churn of live mode: VMs arrive and leave while a contender computes.

The validator implements it a second time, on its own data structures. Rates after VMR2L (EuroSys
2025): 10-15 VM creations a minute off-peak, about 175 a minute at the 99th percentile.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .instance import ACTIVE, Cluster
from .places import Places


def churned(cluster: Cluster, seed: int, elapsed_s: float) -> tuple[Cluster, np.ndarray]:
    """Return a cluster after VMs have arrived and left for some seconds.

    Events are a Poisson process. Half are arrivals: a VM of a flavor drawn from the cluster's own
    VMs, placed by best fit (least CPU left on the node) and rejected if no node has room. Half are
    exits of a random VM. A longer time extends the same sequence of events, so that contenders
    which took different times met the same world.

    Args:
        cluster: the cluster at second 0.
        seed: seed of the world.
        elapsed_s: seconds of churn.

    Returns:
        The changed cluster, and the index in it of each VM of the old cluster, int64 [V]; -1 for
        those that left.
    """
    rng = np.random.default_rng([seed, 0x11FE])
    rate = cluster.churn_per_min / 60.0
    flavor = list(cluster.vm_flavor)
    host, node = list(cluster.vm_pm), list(cluster.vm_numa)
    present = list(range(cluster.n_vms))
    free_cpu, free_mem = cluster.free()
    places = cluster.places()
    time = 0.0
    while rate > 0:
        time += rng.exponential(1.0 / rate)
        arrives, draw = rng.random() < 0.5, rng.random()
        if time > elapsed_s:
            break
        if arrives:
            kind = cluster.vm_flavor[int(draw * cluster.n_vms)]
            place = _best_fit(cluster, places, free_cpu, free_mem, kind)
            if place is None:
                continue
            present.append(len(flavor))
            flavor.append(kind)
            host.append(place[0])
            node.append(place[1])
            _occupy(places, free_cpu, free_mem, kind, place, 1)
        elif len(present) > 1:
            vm = present.pop(int(draw * len(present)))
            _occupy(places, free_cpu, free_mem, flavor[vm], (host[vm], node[vm]), -1)
    where = np.full(len(flavor), -1, np.int64)
    where[present] = np.arange(len(present))
    old = where[: cluster.n_vms]
    new_names = tuple(f"arrival-{i}" for i in range(len(flavor) - cluster.n_vms))
    names = cluster.vm_ids + new_names
    members = old[cluster.set_vms]
    groups = np.repeat(np.arange(len(cluster.set_by_rack)), np.diff(cluster.set_start))
    sizes = np.bincount(groups[members >= 0], minlength=len(cluster.set_by_rack))
    pinned = np.concatenate([cluster.vm_pinned, np.zeros(len(new_names), np.bool_)])
    after = dataclasses.replace(
        cluster,
        vm_ids=tuple(names[vm] for vm in present),
        vm_flavor=np.array(flavor, np.int64)[present],
        vm_pm=np.array(host, np.int64)[present],
        vm_numa=np.array(node, np.int64)[present],
        vm_pinned=pinned[present],
        set_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        set_vms=members[members >= 0],
    )
    return after, old


def _best_fit(
    cluster: Cluster, places: Places, free_cpu: np.ndarray, free_mem: np.ndarray, kind: int
) -> tuple[int, int] | None:
    """Return the host and place that fit a flavor with the least CPU left; None if none fits.

    Args:
        cluster: its hosts and flavors.
        places: of the flavors.
        free_cpu: int64 [P, N]; free CPU of each NUMA node, in 1/cpu_per_core cores.
        free_mem: int64 [P, N]; free memory of each NUMA node, MB.
        kind: index of the flavor.
    """
    count = places.count[kind]
    cpu, mem, uses = (of[kind, :count] for of in (places.cpu, places.mem, places.uses))
    fits = (free_cpu[:, None] >= cpu).all(axis=2) & (free_mem[:, None] >= mem).all(axis=2)
    there = np.arange(cluster.n_nodes) < cluster.pm_nodes[:, None]
    fits &= (there[:, None] | ~uses).all(axis=2) & (cluster.pm_status == ACTIVE)[:, None]
    if not fits.any():
        return None
    left = (free_cpu[:, None] * uses).sum(axis=2)
    pm, place = np.unravel_index(
        int(np.where(fits, left, np.iinfo(np.int64).max).argmin()), left.shape
    )
    return int(pm), int(place)


def _occupy(
    places: Places,
    free_cpu: np.ndarray,
    free_mem: np.ndarray,
    kind: int,
    at: tuple[int, int],
    sign: int,
) -> None:
    """Take (sign 1) or release (sign -1) the resources of a VM, in place.

    Args:
        places: of the flavors.
        free_cpu: int64 [P, N]; free CPU of each NUMA node, in 1/cpu_per_core cores.
        free_mem: int64 [P, N]; free memory of each NUMA node, MB.
        kind: index of the VM's flavor.
        at: its host and place.
        sign: 1 or -1.
    """
    pm, place = at
    free_cpu[pm] -= sign * places.cpu[kind, place]
    free_mem[pm] -= sign * places.mem[kind, place]
