"""Migrations that raise what hosts are worth (worth.py), the best one first."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...envs.rooms import rooms
from .worth import Worth, host_worth, price_slots

NOWHERE = -1


@njit(cache=True, nogil=True)
def plan_moves(
    worth: Worth, free_cpu: np.ndarray, free_mem: np.ndarray, under: np.ndarray,
    pm_nodes: np.ndarray, flavor_cpu: np.ndarray, flavor_mem: np.ndarray, flavor_nodes: np.ndarray,
    flavor_size: np.ndarray, vm_flavor: np.ndarray, vm_place: np.ndarray, movable: np.ndarray,
    cost: float, moves: np.ndarray,
) -> int:  # fmt: skip
    """Plan migrations one after another, each the one that raises the worth of hosts most.

    A VM goes to another host, never to the other node of its own. The hosts and places given are
    changed as the plan changes them.

    Args:
        worth: of the data center.
        free_cpu: int64 [P, 2], in the instance's unit.
        free_mem: int64 [P, 2], MB.
        under: CPU of the VMs below each of SIZE_LIMITS on both nodes, int64 [P, 6].
        pm_nodes: int64 [P].
        flavor_cpu: on each node used, int64 [K].
        flavor_mem: likewise, MB, int64 [K].
        flavor_nodes: int64 [K].
        flavor_size: number of SIZE_LIMITS that the CPU on a node reaches, int64 [K].
        vm_flavor: int64 [V].
        vm_place: 2 * PM + node, int64 [V].
        movable: bool [V].
        cost: what a migration has to gain at least, for each unit of the VM's CPU.
        moves: int64 [n, 2], written to: VM and destination of each migration.

    Returns:
        The number of migrations.
    """
    n_pms, n_flavors, n_vms = len(free_cpu), len(flavor_cpu), len(vm_flavor)
    tables, slots, capacity, layers = worth.tables, worth.slots, worth.capacity, worth.layers
    kinds, core, prices = worth.kind, 1.0 / worth.core, np.empty(len(worth.last))
    arrive = np.empty((n_flavors, n_pms))  # of the better node of each host
    node_of = np.zeros((n_flavors, n_pms), np.int64)
    leave = np.empty(n_vms)
    price_slots(worth, free_cpu, prices)
    stale = np.ones(n_pms, np.bool_)
    best_host = np.empty((n_flavors, 2), np.int64)
    for number in range(len(moves)):
        for pm in range(n_pms):
            if not stale[pm]:
                continue
            for k in range(n_flavors):
                cpu, spread, size = flavor_cpu[k], flavor_nodes[k], flavor_size[k]
                rooms_here = rooms(free_cpu, free_mem, pm, pm_nodes[pm], cpu, flavor_mem[k], spread)
                arrive[k, pm], node_of[k, pm] = -np.inf, 0
                if not (rooms_here[0] or rooms_here[1]):
                    continue
                now = host_worth(
                    tables, slots, capacity, layers, core, free_cpu, under, prices, pm, kinds[pm],
                    0, 0, size,
                )  # fmt: skip
                for node in range(2):
                    if rooms_here[node]:
                        more = cpu if spread == 2 or node == 0 else 0
                        other = cpu if spread == 2 or node == 1 else 0
                        gain = host_worth(
                            tables, slots, capacity, layers, core, free_cpu, under, prices, pm,
                            kinds[pm], more, other, size,
                        ) - now  # fmt: skip
                        if gain > arrive[k, pm]:
                            arrive[k, pm], node_of[k, pm] = gain, node
        for vm in range(n_vms):
            pm, k = vm_place[vm] // 2, vm_flavor[vm]
            if stale[pm] and movable[vm]:
                cpu, both = flavor_cpu[k], flavor_nodes[k] == 2
                less = cpu if both or vm_place[vm] % 2 == 0 else 0
                other = cpu if both or vm_place[vm] % 2 == 1 else 0
                leave[vm] = host_worth(
                    tables, slots, capacity, layers, core, free_cpu, under, prices, pm, kinds[pm],
                    -less, -other, flavor_size[k],
                ) - host_worth(
                    tables, slots, capacity, layers, core, free_cpu, under, prices, pm, kinds[pm],
                    0, 0, flavor_size[k],
                )  # fmt: skip
        stale[:] = False
        for k in range(n_flavors):  # the best host and the second best, for VMs that are on it
            best_host[k, 0] = best_host[k, 1] = NOWHERE
            for pm in range(n_pms):
                if arrive[k, pm] == -np.inf:
                    continue
                if best_host[k, 0] == NOWHERE or arrive[k, pm] > arrive[k, best_host[k, 0]]:
                    best_host[k, 1] = best_host[k, 0]
                    best_host[k, 0] = pm
                elif best_host[k, 1] == NOWHERE or arrive[k, pm] > arrive[k, best_host[k, 1]]:
                    best_host[k, 1] = pm
        best, chosen, to = 0.0, NOWHERE, NOWHERE
        for vm in range(n_vms):
            if not movable[vm]:
                continue
            k, pm = vm_flavor[vm], vm_place[vm] // 2
            host = best_host[k, 0] if best_host[k, 0] != pm else best_host[k, 1]
            if host == NOWHERE:
                continue
            gain = leave[vm] + arrive[k, host] - cost * flavor_cpu[k] * flavor_nodes[k]
            if gain > best + 1e-9:
                best, chosen, to = gain, vm, 2 * host + node_of[k, host]
        if chosen == NOWHERE:
            return number
        k, here = vm_flavor[chosen], vm_place[chosen]
        for place, sign in ((here, -1), (to, 1)):
            pm, node = place // 2, place % 2
            first, last = (0, 2) if flavor_nodes[k] == 2 else (node, node + 1)
            for at in range(first, last):
                free_cpu[pm, at] -= sign * flavor_cpu[k]
                free_mem[pm, at] -= sign * flavor_mem[k]
                for limit in range(flavor_size[k], under.shape[1] // 2):
                    under[pm, 2 * limit + at] += sign * flavor_cpu[k]
            stale[pm] = True
        vm_place[chosen] = to
        moves[number, 0], moves[number, 1] = chosen, to
    return len(moves)
