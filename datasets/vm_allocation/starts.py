"""Where the VMs are that are there when a window of a trace begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

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
    came = np.flatnonzero(comes < 0)
    gone = came[leaves[came] <= 0]
    vms = np.concatenate([gone, came])
    arrives = np.arange(len(vms)) >= len(gone)
    times = np.where(arrives, comes[vms], leaves[vms])
    if trace.stays.left_at.size:
        row = np.where(arrives, trace.stays.lines[vms], trace.stays.left_at[vms])
    else:
        row = arrives.astype(np.int64)  # exits first
    order = np.lexsort((row, times))
    of_set = numbered(trace.groups, len(comes))
    places: np.ndarray = _best_fit(
        vms[order], arrives[order], catalogue.of_vm, catalogue.cpu, catalogue.mem, catalogue.nodes,
        of_set, np.full((of_set.max(initial=-1) + 1, len(room.cpu)), False), room.cpu.copy(),
        room.mem.copy(), (room.cpu > 0).astype(np.int64).sum(axis=1),
    )  # fmt: skip
    return places


def numbered(groups: Sequence[str], count: int) -> np.ndarray:
    """Number deployment sets from 0 in the order in which they appear; -1 for none, int64 [count].

    Args:
        groups: name of each VM's set, empty for none; none at all if there are no sets.
        count: number of VMs.
    """
    seen: dict[str, int] = {}
    if not groups:
        return np.full(count, -1)
    return np.array([seen.setdefault(one, len(seen)) if one else -1 for one in groups], np.int64)


@njit(cache=True)
def _best_fit(
    vms: np.ndarray,
    arrives: np.ndarray,
    flavor: np.ndarray,
    cpu: np.ndarray,
    mem: np.ndarray,
    nodes: np.ndarray,
    of_set: np.ndarray,
    taken: np.ndarray,
    free_cpu: np.ndarray,
    free_mem: np.ndarray,
    pm_nodes: np.ndarray,
) -> np.ndarray:
    """Replay events in their order; return the place of each VM at the end, -1 for none.

    Args:
        vms: int64 [E]; VM of each event.
        arrives: bool [E]; whether it is an arrival.
        flavor: int64 [N].
        cpu: int64 [K]; of each flavor on each node.
        mem: int64 [K]; likewise.
        nodes: int64 [K]; nodes that it uses.
        of_set: int64 [N]; deployment set, -1 for none.
        taken: bool [S, P], written to; hosts with a VM of each set.
        free_cpu: int64 [P, 2], written to.
        free_mem: int64 [P, 2], written to.
        pm_nodes: int64 [P]; nodes of each host.
    """
    place = np.full(len(flavor), -1)
    for event in range(len(vms)):
        vm = vms[event]
        k, group = flavor[vm], of_set[vm]
        if not arrives[event]:
            sign, at = -1, place[vm]
        else:
            sign, at, least = 1, -1, 0
            for pm in range(len(pm_nodes)):
                if group >= 0 and taken[group, pm]:
                    continue
                whole = nodes[k] == 2
                if whole and (
                    pm_nodes[pm] < 2 or free_cpu[pm, 1] < cpu[k] or free_mem[pm, 1] < mem[k]
                ):
                    continue
                for node in range(1 if whole else pm_nodes[pm]):
                    if free_cpu[pm, node] < cpu[k] or free_mem[pm, node] < mem[k]:
                        continue
                    left = free_cpu[pm, node] + (free_cpu[pm, 1] if whole else 0)
                    if at < 0 or left < least:
                        at, least = 2 * pm + node, left
        if at < 0:
            continue
        place[vm] = at if sign > 0 else -1
        pm, node = at // 2, at % 2
        for on in range(node, 2 if nodes[k] == 2 else node + 1):
            free_cpu[pm, on] -= sign * cpu[k]
            free_mem[pm, on] -= sign * mem[k]
        if group >= 0:
            taken[group, pm] = sign > 0
    return place
