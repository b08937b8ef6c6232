"""Where the VMs are that are there when a window of a trace begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.notes import note
from .recorded import GivenHost, Recorded


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """K flavors, in order of size.

    Attributes:
        names: K names.
        cpu: int64 [K]; units on each node used.
        mem: int64 [K]; MB on each node used.
        nodes: int64 [K]; nodes used, 1 or 2.
        of_vm: int64 [N]; flavor of each VM of the trace.
    """

    names: tuple[str, ...]
    cpu: np.ndarray
    mem: np.ndarray
    nodes: np.ndarray
    of_vm: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """Capacity of P hosts.

    Attributes:
        cpu: int64 [P, 2]; units on each node.
        mem: int64 [P, 2]; MB on each.
        per_core: units in a core.
    """

    cpu: np.ndarray
    mem: np.ndarray
    per_core: int


def given_places(
    trace: Recorded,
    catalogue: Catalogue,
    hosts: Sequence[GivenHost],
    room: Room,
    comes: np.ndarray,
    there: np.ndarray,
) -> np.ndarray:
    """Return the place `2 * PM + node` of each VM of the start whose host is known, else -1.

    Args:
        trace: the trace.
        catalogue: its flavors.
        hosts: what it is played on.
        room: of the hosts.
        comes: arrivals from the window's start, float64 [N].
        there: VMs of the start, bool [N].

    Raises:
        InstanceError: a host is not known, or has no room.
    """
    place = np.full(len(comes), -1)
    if not trace.hosts:
        return place
    at = {host.name: row for row, host in enumerate(hosts)}
    if not any(name in at for name in trace.hosts):
        note(
            f"{trace.place}: its VMs' hosts are none of those that it is played on; the policy "
            "places the VMs that are there at the start"
        )
        return place
    free_cpu, free_mem = room.cpu.copy(), room.mem.copy()
    nodes = trace.host_node if trace.host_node.size else np.full(len(comes), -1)
    in_order = np.flatnonzero(there)
    for vm in in_order[np.argsort(comes[in_order], kind="stable")].tolist():
        name = trace.hosts[vm]
        if not name:
            continue
        if name not in at:
            trace.refuse(
                vm, f"is on host {name!r}, which is not among the hosts; add the host, or clear it"
            )
        pm, k = at[name], catalogue.of_vm[vm]
        cpu, mem, spread = catalogue.cpu[k], catalogue.mem[k], catalogue.nodes[k]
        known = [[0, 1]] if spread == 2 else [[int(nodes[vm])]] if nodes[vm] >= 0 else [[0], [1]]
        fits = [
            on
            for on in known
            if (free_cpu[pm, on] >= cpu).all() and (free_mem[pm, on] >= mem).all()
            and (room.cpu[pm, on] > 0).all()
        ]  # fmt: skip
        if not fits:
            left = ", ".join(
                f"{free_cpu[pm, node] / room.per_core:g} cores and {free_mem[pm, node]} MB"
                for node in range(len(hosts[pm].nodes))
            )
            where = f" node {nodes[vm]}" if len(known) == 1 and spread == 1 else ""
            trace.refuse(
                vm,
                f"needs {cpu / room.per_core:g} cores and {mem} MB on {spread} NUMA node"
                f"{'s' if spread > 1 else ''}; on host {name!r}{where} the VMs that are there at "
                f"the window's start leave it no room (left by node: {left}). Correct its host or "
                "an exit, or clear its host: then the policy places it",
            )
        place[vm] = 2 * pm + fits[0][0]
        free_cpu[pm, fits[0]] -= cpu
        free_mem[pm, fits[0]] -= mem
    return place


def replayed_places(
    trace: Recorded, catalogue: Catalogue, room: Room, comes: np.ndarray, leaves: np.ndarray
) -> np.ndarray:
    """Return the places of the VMs of the start after a replay of the trace by best fit.

    Each VM that arrives before the window is placed where it leaves least CPU on the nodes that it
    uses, apart from others of its deployment set; one that finds no room is gone.

    Args:
        trace: the trace.
        catalogue: its flavors.
        room: of the hosts.
        comes: arrivals from the window's start, float64 [N].
        leaves: exits, likewise.

    Returns:
        `2 * PM + node`, -1 for VMs that are not there, int64 [N].
    """
    place = np.full(len(comes), -1)
    free_cpu, free_mem, is_node = room.cpu.copy(), room.mem.copy(), room.cpu > 0
    came = np.flatnonzero(comes < 0)
    gone = came[leaves[came] <= 0]
    vms = np.concatenate([gone, came])
    arrives = np.arange(len(vms)) >= len(gone)
    times = np.where(arrives, comes[vms], leaves[vms])
    if trace.stays.left_at.size:
        row = np.where(arrives, trace.stays.lines[vms], trace.stays.left_at[vms])
    else:
        row = arrives.astype(np.int64)
    most = np.iinfo(np.int64).max
    taken: dict[str, set[int]] = {}
    for event in np.lexsort((row, times)).tolist():
        vm = int(vms[event])
        k, group = int(catalogue.of_vm[vm]), trace.groups[vm] if trace.groups else ""
        cpu, mem, spread = catalogue.cpu[k], catalogue.mem[k], catalogue.nodes[k]
        if arrives[event]:
            fits = is_node & (free_cpu >= cpu) & (free_mem >= mem)
            left = free_cpu
            if spread == 2:
                fits = np.stack([fits.all(axis=1), np.zeros(len(fits), np.bool_)], axis=1)
                left = np.repeat(free_cpu.sum(axis=1, keepdims=True), 2, axis=1)
            if group:
                fits[sorted(taken.setdefault(group, set()))] = False
            if not fits.any():
                continue
            place[vm] = int(np.where(fits, left, most).argmin())
        elif place[vm] < 0:
            continue
        pm, node = divmod(int(place[vm]), 2)
        on = slice(0, 2) if spread == 2 else slice(node, node + 1)
        sign = 1 if arrives[event] else -1
        free_cpu[pm, on] -= sign * cpu
        free_mem[pm, on] -= sign * mem
        if group:
            (taken[group].add if sign > 0 else taken[group].discard)(pm)
        if sign < 0:
            place[vm] = -1
    return place
