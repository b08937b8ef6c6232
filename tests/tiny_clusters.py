"""Tiny random clusters with every feature of the problem."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sysopt_gym.datasets.vm_rescheduling.instance import DEFAULT_TASK, Cluster

FLAVORS = (("s", 2, 4, 1), ("m", 4, 20, 1), ("l", 8, 8, 1), ("xl", 16, 30, 1), ("d", 8, 16, 2))


def make_cluster(seed: int, **changes: Any) -> Cluster:
    """2 to 6 hosts (some with one node, some not ACTIVE) with VMs, pins and deployment sets.

    GB of memory stand in the flavors above; nodes are small enough for both resources to bind.
    """
    rng = np.random.default_rng(seed)
    pms = int(rng.integers(2, 7))
    one_node = rng.random(pms) < 0.2
    cpu = rng.choice([20, 34, 44], (pms, 2))
    mem = rng.choice([60, 90, 140], (pms, 2)) * 1024
    cpu[one_node, 1] = mem[one_node, 1] = 0
    free_cpu, free_mem = cpu.copy(), mem.copy()
    rows = []
    for _ in range(int(rng.integers(3, 5 * pms))):
        kind = int(rng.integers(len(FLAVORS)))
        _, need, gb, nodes = FLAVORS[kind]
        pm, node = int(rng.integers(pms)), 0 if nodes == 2 else int(rng.integers(2))
        at = slice(None) if nodes == 2 else node
        if (free_cpu[pm, at] >= need).all() and (free_mem[pm, at] >= gb * 1024).all():
            free_cpu[pm, at] -= need
            free_mem[pm, at] -= gb * 1024
            rows.append((kind, pm, node))
    rows = rows or [(0, 0, 0)]
    flavor, host, numa = np.array(rows, np.int64).T
    count = len(rows)
    sizes = rng.integers(2, 4, int(rng.integers(0, 3)))
    sets = [rng.permutation(count)[: min(size, count)] for size in sizes]
    cluster = Cluster(
        name=f"tiny-{seed}",
        pm_ids=tuple(f"pm{i}" for i in range(pms)),
        pm_status=rng.choice([0, 0, 0, 0, 1, 2], pms).astype(np.int8),
        pm_rack=rng.integers(0, 3, pms),
        numa_cpu=cpu.astype(np.int64),
        numa_mem=mem.astype(np.int64),
        flavor_names=tuple(name for name, *_ in FLAVORS),
        flavor_cpu=np.array([need for _, need, _, _ in FLAVORS], np.int64),
        flavor_mem=np.array([gb * 1024 for _, _, gb, _ in FLAVORS], np.int64),
        flavor_nodes=np.array([nodes for *_, nodes in FLAVORS], np.int64),
        vm_ids=tuple(f"vm{i}" for i in range(count)),
        vm_flavor=flavor,
        vm_pm=host,
        vm_numa=numa,
        vm_pinned=rng.random(count) < 0.1,
        set_start=np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64),
        set_vms=np.concatenate([np.zeros(0, np.int64), *sets]),
        set_by_rack=rng.random(len(sets)) < 0.5,
        **DEFAULT_TASK,  # type: ignore[arg-type]
    )
    return dataclasses.replace(cluster, **changes)
