"""Tiny random clusters of hosts with any number of NUMA nodes, and of VMs of several parts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sysopt_gym.datasets.vm_rescheduling.instance import DEFAULT_TASK, Cluster
from sysopt_gym.datasets.vm_rescheduling.places import make_places

GB = 1024
# CPU and GB of memory of each part.
FLAVORS = (
    ((2, 4),), ((4, 20),), ((8, 8),), ((0, 1),),
    ((8, 8), (8, 8)), ((4, 8), (8, 8)), ((2, 4), (2, 4), (0, 4)), ((4, 4),) * 4,
)  # fmt: skip


def make_wide_cluster(seed: int, nodes: tuple[int, ...] = (1, 2, 4), **changes: Any) -> Cluster:
    """2 to 5 hosts with as many NUMA nodes as drawn from `nodes`, with VMs, pins and sets."""
    rng = np.random.default_rng(seed)
    pms, most = int(rng.integers(2, 6)), max(2, *nodes)
    of_pm = rng.choice(nodes, pms)
    there = np.arange(most) < of_pm[:, None]
    cpu = np.where(there, rng.choice([12, 20, 34], (pms, most)), 0)
    mem = np.where(there, rng.choice([30, 60, 90], (pms, most)) * GB, 0)
    flavors = [f for f in FLAVORS if len(f) <= most]
    parts = [tuple((cores, gb * GB) for cores, gb in flavor) for flavor in flavors]
    places = make_places(parts, most)
    free_cpu, free_mem = cpu.copy(), mem.copy()
    rows = []
    for _ in range(int(rng.integers(4, 6 * pms))):
        kind, pm = int(rng.integers(len(flavors))), int(rng.integers(pms))
        place = int(rng.integers(places.count[kind]))
        need, memory = places.cpu[kind, place], places.mem[kind, place]
        if (
            (free_cpu[pm] >= need).all()
            and (free_mem[pm] >= memory).all()
            and not (places.uses[kind, place] & ~there[pm]).any()
        ):
            free_cpu[pm] -= need
            free_mem[pm] -= memory
            rows.append((kind, pm, place))
    rows = rows or [(0, 0, 0)]
    flavor, host, numa = np.array(rows, np.int64).T
    count = len(rows)
    sets = [rng.permutation(count)[:3] for _ in range(int(rng.integers(0, 3)))]
    width = max(map(len, flavors))
    table = np.zeros((2, len(flavors), width), np.int64)
    for k, flavor_parts in enumerate(parts):
        table[:, k, : len(flavor_parts)] = np.array(flavor_parts).T
    cluster = Cluster(
        name=f"wide-{seed}",
        pm_ids=tuple(f"pm{i}" for i in range(pms)),
        pm_status=rng.choice([0, 0, 0, 0, 1, 2], pms).astype(np.int8),
        pm_rack=rng.integers(0, 3, pms),
        numa_cpu=cpu.astype(np.int64),
        numa_mem=mem.astype(np.int64),
        flavor_names=tuple(f"f{k}" for k in range(len(flavors))),
        flavor_cpu=table[0].max(axis=1),
        flavor_mem=table[1].max(axis=1),
        flavor_nodes=np.array([len(f) for f in flavors], np.int64),
        vm_ids=tuple(f"vm{i}" for i in range(count)),
        vm_flavor=flavor,
        vm_pm=host,
        vm_numa=numa,
        vm_pinned=rng.random(count) < 0.1,
        set_start=np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64),
        set_vms=np.concatenate([np.zeros(0, np.int64), *sets]),
        set_by_rack=rng.random(len(sets)) < 0.5,
        part_cpu=table[0],
        part_mem=table[1],
        **DEFAULT_TASK,  # type: ignore[arg-type]
    )
    return dataclasses.replace(cluster, **changes)
