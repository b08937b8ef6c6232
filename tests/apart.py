"""Random clusters whose fragments are cured only by a move that first makes room for another."""

from __future__ import annotations

import numpy as np
from sysopt_gym.datasets.vm_rescheduling.instance import DEFAULT_TASK, Cluster

CORES = (2, 4, 8)
NODE_CORES, MB_PER_CORE = 16, 2048


def kept_apart(seed: int, pms: int, sets: int = 0) -> Cluster:
    """Some hosts are (nearly) full, the others hold little more than a replica of a set.

    Replicas of one set must not meet, so a host with a replica is emptied only by moving it to a
    full host, where another VM has to leave first, for a host where it bars nobody.

    Args:
        seed: of all draws.
        pms: number of hosts, each of one or two NUMA nodes of 16 cores.
        sets: number of deployment sets; 0 to draw it.
    """
    rng = np.random.default_rng([seed, pms, 0xAFA7])
    nodes = 1 + (rng.random(pms) < rng.choice([0.0, 0.5]))
    sparse = rng.permutation(pms) < round(pms * rng.uniform(0.4, 0.6))
    sets = sets or (1 if rng.random() < 0.5 else int(rng.integers(1, 3 + pms // 20)))
    sizes = rng.choice(CORES, 3)
    of_set: list[list[int]] = [[] for _ in range(sets)]
    flavor, host, numa = [], [], []

    def put(cores: int, pm: int, node: int) -> None:
        flavor.append(CORES.index(cores))
        host.append(pm)
        numa.append(node)

    for pm in range(pms):
        if sparse[pm]:
            of_set[int(rng.integers(sets))].append(len(host))
            put(int(rng.choice(sizes)), pm, int(rng.integers(nodes[pm])))
            continue
        for node in range(nodes[pm]):
            left = NODE_CORES - (0 if rng.random() < 0.8 else 2)
            while left > 0:
                cores = int(rng.choice(sizes if left >= sizes.max() else CORES))
                if cores <= left:
                    put(cores, pm, node)
                    left -= cores
    of_set = [group for group in of_set if group]
    cpu = np.full((pms, 2), NODE_CORES, np.int64)
    cpu[nodes == 1, 1] = 0
    task = DEFAULT_TASK | {"mnl": int(rng.choice([4 if pms < 50 else 12, pms // 2 + 1, 50]))}
    return Cluster(
        name=f"apart-{pms}-{seed}",
        pm_ids=tuple(f"pm{i}" for i in range(pms)),
        pm_status=np.zeros(pms, np.int8),
        pm_rack=np.arange(pms, dtype=np.int64) // 4,
        numa_cpu=cpu,
        numa_mem=cpu * 2 * MB_PER_CORE,
        flavor_names=tuple(f"c{cores}" for cores in CORES),
        flavor_cpu=np.array(CORES, np.int64),
        flavor_mem=np.array(CORES, np.int64) * MB_PER_CORE,
        flavor_nodes=np.ones(len(CORES), np.int64),
        vm_ids=tuple(f"vm{i}" for i in range(len(host))),
        vm_flavor=np.array(flavor, np.int64),
        vm_pm=np.array(host, np.int64),
        vm_numa=np.array(numa, np.int64),
        vm_pinned=np.zeros(len(host), np.bool_),
        set_start=np.cumsum([0, *map(len, of_set)]).astype(np.int64),
        set_vms=np.array([vm for group in of_set for vm in group], np.int64),
        set_by_rack=np.zeros(len(of_set), np.bool_),
        **task,  # type: ignore[arg-type]
    )
