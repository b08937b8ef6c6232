"""LARS-like rescheduling: empty the emptiest hosts, the VMs that would stay longest first.

After LARS (LAVA, MLSys 2025) as "DVLA" (OSDI 2026) describes it: where hosts must be drained, VMs
with the longest expected remaining life are migrated, and short ones are left to end by themselves.
That hosts are drained in the order of their use, and the rules below for destinations, are this
library's.
"""

from __future__ import annotations

import numpy as np

from ...envs.vm_allocation.observation import Pm, Vm
from ...methods.vm_allocation.hourly import Chance
from .lifetimes import hours_of

LEAST_STAY_H = 1.0  # shorter VMs are left to end by themselves
MOST_DRAINED = 0.25  # of the hosts in use, the emptiest, are drained


def plan_lars(chance: Chance) -> np.ndarray:
    """Plan the moves of a chance; a `Planner` of methods/vm_allocation/hourly.py.

    The hosts in use are taken from the emptiest on. Their VMs go, the longest stay first, to hosts
    that are used more and not drained themselves, where the exit that is expected of the host is
    not put off; of such hosts to the one with least CPU left. VMs of which nothing is told, and
    those that leave within the hour, stay.

    Args:
        chance: hosts, VMs and the number of moves.

    Returns:
        int64 [n, 2]; VMs and destinations 2 * PM + node.
    """
    c = chance.cluster
    stay, exits = hours_of(chance.vms[:, Vm.STAY]), hours_of(chance.hosts[:, Pm.STAY])
    free_cpu, free_mem = c.free()
    used = (c.numa_cpu - free_cpu).sum(axis=1)
    in_use = np.flatnonzero(used > 0)
    drained = in_use[np.argsort(used[in_use], kind="stable")][: int(MOST_DRAINED * len(in_use))]
    receiving = used > 0
    receiving[drained] = False
    plan: list[tuple[int, int]] = []
    for host in drained.tolist():
        there = np.flatnonzero((c.vm_pm == host) & ~c.vm_pinned & (stay >= LEAST_STAY_H))
        for vm in there[np.argsort(-stay[there], kind="stable")].tolist():
            if len(plan) == c.mnl:
                return np.array(plan, np.int64)
            k = c.vm_flavor[vm]
            cpu, mem, both = c.flavor_cpu[k], c.flavor_mem[k], c.flavor_nodes[k] == 2
            room = (free_cpu >= cpu) & (free_mem >= mem) & (c.numa_cpu > 0)
            if both:
                room = np.stack([room.all(axis=1), np.zeros(len(room), np.bool_)], axis=1)
            room &= (receiving & (exits >= stay[vm]))[:, None]
            if not room.any():
                continue
            left = np.where(room, free_cpu + free_cpu.sum(axis=1, keepdims=True) / 1e6, np.inf)
            place = int(left.argmin())
            plan.append((vm, place))
            nodes = slice(0, 2) if both else slice(place % 2, place % 2 + 1)
            free_cpu[place // 2, nodes] -= cpu
            free_mem[place // 2, nodes] -= mem
    return np.array(plan, np.int64).reshape(-1, 2)
