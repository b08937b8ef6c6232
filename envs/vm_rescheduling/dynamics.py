"""What a migration does: integer state, legality and increments, compiled.

Pure functions over `Static` (the cluster, as arrays) and a preallocated `State`. The environment,
the solvers and the agents' searches all call these. A destination is the integer S * pm + place,
where S is the instance's number of places a host (2 unless hosts have more NUMA nodes); the place
of a VM on one node is its node, that of a VM on both of two nodes is 0. See places.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.hosts import FRAGMENT_CORES, LARGE_CORES, LARGE_MEM_MB
from ...datasets.vm_rescheduling.instance import ACTIVE, OBJECTIVES, OUTAGE, Cluster
from ..packed import Floats, Matrix
from .rooms import make_rooms

# Columns of State.totals, sums over ACTIVE PMs (objective.py turns them into rates); the last one,
# points of room, is 0 but for objective admission.
TOTALS = (FRAGMENT, FREE, LARGE_SLOTS, MEM_FRAGMENT, MEM_FREE, ON_DRAIN, MOVES, ROOM) = range(8)
FRAGMENT_RATE, MIXED, MOVES_TO_GOAL, DRAIN, ADMISSION = range(len(OBJECTIVES))


class Static(NamedTuple):
    """What no migration changes; see Cluster for shapes and units."""

    pm_status: np.ndarray
    pm_rack: np.ndarray
    pm_nodes: np.ndarray  # int64 [P]; NUMA nodes
    pm_drain: np.ndarray  # int64 [P], 0 or 1
    flavor_cpu: np.ndarray
    flavor_mem: np.ndarray
    flavor_nodes: np.ndarray
    places: np.ndarray  # int64 [K]; places that a VM of the flavor can have on a host
    place_cpu: Matrix  # int64 [K*S, N]; CPU that place s of flavor k takes of each node: row k*S+s
    place_mem: Matrix  # int64 [K*S, N]
    place_nodes: np.ndarray  # int64 [K*S]; nodes that a host must have for it
    vm_flavor: np.ndarray
    vm_pinned: np.ndarray
    vm_set_start: (
        np.ndarray
    )  # int64 [V+1]; VM v is in the sets vm_sets[vm_set_start[v]:vm_set_start[v+1]]
    vm_sets: np.ndarray
    set_start: np.ndarray
    set_vms: np.ndarray
    set_by_rack: np.ndarray
    stride: int  # S, destinations a host
    plain: int  # 1 if hosts have at most two nodes and VMs on both need the same of each
    unit: int  # 16 cores in the instance's unit of CPU
    mnl: int
    pm_move_cap: int  # never binding (mnl) where the cluster has no limit
    objective: int
    goal_rate: float
    weights: Floats
    room: np.ndarray  # int64 [T]; points by free cores, see rooms.py
    pm_room: Matrix  # int64 [P, N/2]; where the table of each pair of nodes begins in `room`
    pm_cores: Matrix  # int64 [P, N]; whole cores of each node; an even number of columns
    room_empty: int  # points of all ACTIVE PMs if they held no VM
    room_full: int  # if they had no free core


class State(NamedTuple):
    """What migrations change; copy with `copy_state`."""

    free_cpu: Matrix  # int64 [P, N]
    free_mem: Matrix  # int64 [P, N]
    vm_pm: np.ndarray  # int64 [V]
    vm_numa: np.ndarray  # int64 [V]; place
    pm_moves: np.ndarray  # int64 [P]; moves each PM took part in
    totals: np.ndarray  # int64 [8]


def make_static(cluster: Cluster) -> Static:
    """Make the compiled functions' view of a cluster."""
    sizes = np.diff(cluster.set_start)
    set_of_member = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(cluster.set_vms, kind="stable")
    vm_set_start = np.zeros(cluster.n_vms + 1, np.int64)
    np.cumsum(np.bincount(cluster.set_vms, minlength=cluster.n_vms), out=vm_set_start[1:])
    drain = np.zeros(cluster.n_pms, np.int64)
    drain[cluster.drain_pms] = 1
    places = cluster.places()
    rows = len(places.count) * places.stride
    rooms = make_rooms(cluster)
    nodes_needed = np.where(places.uses, np.arange(1, cluster.n_nodes + 1), 0).max(axis=2)
    return Static(
        pm_status=cluster.pm_status.astype(np.int64),
        pm_rack=cluster.pm_rack.astype(np.int64),
        pm_nodes=cluster.pm_nodes,
        pm_drain=drain,
        flavor_cpu=cluster.flavor_cpu.astype(np.int64),
        flavor_mem=cluster.flavor_mem.astype(np.int64),
        flavor_nodes=cluster.flavor_nodes.astype(np.int64),
        places=places.count,
        place_cpu=places.cpu.reshape(rows, -1),
        place_mem=places.mem.reshape(rows, -1),
        place_nodes=nodes_needed.ravel(),
        vm_flavor=cluster.vm_flavor.astype(np.int64),
        vm_pinned=cluster.vm_pinned.astype(np.int64),
        vm_set_start=vm_set_start,
        vm_sets=set_of_member[order].astype(np.int64),
        set_start=cluster.set_start.astype(np.int64),
        set_vms=cluster.set_vms.astype(np.int64),
        set_by_rack=cluster.set_by_rack.astype(np.int64),
        stride=places.stride,
        plain=int(cluster.is_plain),
        unit=cluster.fragment_unit,
        mnl=cluster.mnl,
        pm_move_cap=cluster.pm_move_cap or cluster.mnl,
        objective=OBJECTIVES.index(cluster.objective),
        goal_rate=float(cluster.goal_rate),
        weights=cluster.weights / cluster.weights.sum(),
        room=rooms.points,
        pm_room=rooms.start,
        pm_cores=rooms.cores,
        room_empty=rooms.empty,
        room_full=rooms.full,
    )


def make_state(cluster: Cluster, static: Static) -> State:
    """Make the state before any move.

    Args:
        cluster: the instance.
        static: of the same cluster.
    """
    free_cpu, free_mem = cluster.free()
    state = State(
        free_cpu,
        free_mem,
        cluster.vm_pm.astype(np.int64),
        cluster.vm_numa.astype(np.int64),
        np.zeros(cluster.n_pms, np.int64),
        np.zeros(len(TOTALS), np.int64),
    )
    _count_all(static, state)
    return state


def broken_sets(cluster: Cluster) -> np.ndarray:
    """Tell which deployment sets have two VMs on one host (or in one rack), bool [S]."""
    place = np.where(np.repeat(cluster.set_by_rack, np.diff(cluster.set_start)),
                     cluster.pm_rack[cluster.vm_pm[cluster.set_vms]],
                     cluster.vm_pm[cluster.set_vms])  # fmt: skip
    parts = np.split(place, cluster.set_start[1:-1])
    return np.array(
        [len(np.unique(part)) < len(part) for part in parts[: len(cluster.set_by_rack)]], np.bool_
    )


def copy_state(state: State) -> State:
    """Return an independent copy."""
    return State(*(array.copy() for array in state))


def restore_state(state: State, saved: State) -> None:
    """Overwrite a state in place.

    Args:
        state: written to.
        saved: the state that it becomes equal to.
    """
    for array, source in zip(state, saved, strict=True):
        array[...] = source


@njit(cache=True, inline="always")
def add_terms(static: Static, state: State, pm: int, sign: int) -> None:
    """Add one PM's contribution to the totals, or subtract it.

    Args:
        static: what no move changes.
        state: its `totals` are written to.
        pm: index of the PM.
        sign: 1 to add, -1 to subtract.
    """
    if static.pm_status[pm] != ACTIVE:
        return
    unit = static.unit
    mem_unit = LARGE_MEM_MB
    large = unit * LARGE_CORES // 16
    totals = state.totals
    nodes = static.pm_nodes[pm]
    slots = np.int64(1 << 60)
    for node in range(nodes):
        cpu, mem = state.free_cpu[pm, node], state.free_mem[pm, node]
        totals[FRAGMENT] += sign * (cpu % unit)
        totals[FREE] += sign * cpu
        totals[MEM_FRAGMENT] += sign * (mem % mem_unit)
        totals[MEM_FREE] += sign * mem
        slots = min(slots, cpu // (large // nodes))
    totals[LARGE_SLOTS] += sign * slots
    if static.objective == ADMISSION:
        for pair in range(static.pm_room.shape[1]):
            node = 2 * pair
            other = state.free_cpu[pm, node + 1] if node + 1 < state.free_cpu.shape[1] else 0
            totals[ROOM] += sign * points_of(static, pm, pair, state.free_cpu[pm, node], other)


@njit(cache=True, inline="always")
def points_of(static: Static, pm: int, pair: int, cpu_0: int, cpu_1: int) -> int:
    """Return the points of room of a pair of a PM's NUMA nodes (objective admission).

    Args:
        static: what no move changes.
        pm: index of the PM.
        pair: nodes 2 * pair and 2 * pair + 1.
        cpu_0: free CPU of the first; more than the node has counts as all of it.
        cpu_1: free CPU of the second.
    """
    core = static.unit // FRAGMENT_CORES
    a = min(cpu_0 // core, static.pm_cores[pm, 2 * pair])
    most = static.pm_cores[pm, 2 * pair + 1]
    return int(static.room[static.pm_room[pm, pair] + a * (most + 1) + min(cpu_1 // core, most)])


@njit(cache=True)
def _count_all(static: Static, state: State) -> None:
    state.totals[:] = 0
    for pm in range(len(static.pm_status)):
        add_terms(static, state, pm, 1)
    for vm in range(len(state.vm_pm)):
        if static.pm_drain[state.vm_pm[vm]]:
            state.totals[ON_DRAIN] += 1


# These take numbers and arrays rather than Static and State: in loops over PMs, VMs or flavors that
# is several times faster, as arrays are taken out of the tuples once.


@njit(cache=True, inline="always")
def accepts(status: int, moves: int, cap: int) -> bool:
    """Whether a PM lets VMs in.

    Args:
        status: of the PM.
        moves: moves that it took part in.
        cap: how many it may take part in.
    """
    return (status == ACTIVE) & (moves < cap)


@njit(cache=True, inline="always")
def releases(status: int, moves: int, cap: int) -> bool:
    """Whether a PM lets VMs out.

    Args:
        status: of the PM.
        moves: moves that it took part in.
        cap: how many it may take part in.
    """
    return (status != OUTAGE) & (moves < cap)


@njit(cache=True, inline="always")
def place_fits(static: Static, state: State, flavor: int, pm: int, place: int) -> bool:
    """Whether a PM has the nodes, the CPU and the memory for a place of a flavor.

    Args:
        static: what no move changes.
        state: the present one.
        flavor: index of the flavor.
        pm: index of the PM.
        place: number of the place.
    """
    row = flavor * static.stride + place
    if place >= static.places[flavor] or static.place_nodes[row] > static.pm_nodes[pm]:
        return False
    enough = True
    for node in range(static.place_cpu.shape[1]):
        enough &= (state.free_cpu[pm, node] >= static.place_cpu[row, node]) & (
            state.free_mem[pm, node] >= static.place_mem[row, node]
        )
    return enough


@njit(cache=True, inline="always")
def may_leave(static: Static, state: State, vm: int) -> bool:
    """Whether the VM is not pinned and its host lets VMs out.

    Args:
        static: what no move changes.
        state: the present one.
        vm: index of the VM.
    """
    source = state.vm_pm[vm]
    lets_out = releases(static.pm_status[source], state.pm_moves[source], static.pm_move_cap)
    return bool(not static.vm_pinned[vm] and lets_out)


@njit(cache=True, inline="always")
def has_room(static: Static, state: State, flavor: int, pm: int, place: int) -> bool:
    """Whether a PM's status, move cap, nodes, CPU and memory allow a VM of a flavor.

    Args:
        static: what no move changes.
        state: the present one.
        flavor: index of the flavor.
        pm: index of the PM.
        place: number of the place on it.
    """
    enters = accepts(static.pm_status[pm], state.pm_moves[pm], static.pm_move_cap)
    return bool(enters and place_fits(static, state, flavor, pm, place))


@njit(cache=True, inline="always")
def meets_sets(static: Static, state: State, vm: int, pm: int) -> bool:
    """Whether no other member of the VM's deployment sets is on the PM (or in its rack).

    Args:
        static: what no move changes.
        state: the present one.
        vm: index of the VM.
        pm: index of the PM.
    """
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        group = static.vm_sets[i]
        for j in range(static.set_start[group], static.set_start[group + 1]):
            other = static.set_vms[j]
            if other == vm:
                continue
            host = state.vm_pm[other]
            if host == pm or (
                static.set_by_rack[group] and static.pm_rack[host] == static.pm_rack[pm]
            ):
                return False
    return True


@njit(cache=True, inline="always")
def is_legal(static: Static, state: State, vm: int, pm: int, place: int) -> bool:
    """Whether a move is allowed now; staying where it is is no move of a VM.

    Args:
        static: what no move changes.
        state: the present one.
        vm: index of the VM.
        pm: index of the PM to move to.
        place: number of its place there.
    """
    source = state.vm_pm[vm]
    flavor = static.vm_flavor[vm]
    if source == pm and state.vm_numa[vm] == place:
        return False
    return bool(
        state.totals[MOVES] < static.mnl
        and may_leave(static, state, vm)
        and has_room(static, state, flavor, pm, place)
        and meets_sets(static, state, vm, pm)
    )


@njit(cache=True, inline="always")
def move(static: Static, state: State, vm: int, pm: int, place: int) -> None:
    """Migrate a VM; the caller has checked `is_legal`. Only the two PMs and the VM change.

    Args:
        static: what no move changes.
        state: written to.
        vm: index of the VM.
        pm: index of the PM to move to.
        place: number of its place there.
    """
    source = state.vm_pm[vm]
    first = static.vm_flavor[vm] * static.stride
    left, taken = first + state.vm_numa[vm], first + place
    for step in range(4):  # not four calls: each would be laid out, in every caller
        host, sign = (source if step % 2 == 0 else pm), (-1 if step < 2 else 1)
        if step == 2:
            for node in range(static.place_cpu.shape[1]):
                state.free_cpu[source, node] += static.place_cpu[left, node]
                state.free_mem[source, node] += static.place_mem[left, node]
                state.free_cpu[pm, node] -= static.place_cpu[taken, node]
                state.free_mem[pm, node] -= static.place_mem[taken, node]
        if step % 2 == 0 or pm != source:
            add_terms(static, state, host, sign)
    state.pm_moves[source] += 1
    if pm != source:
        state.pm_moves[pm] += 1
    state.totals[ON_DRAIN] += int(static.pm_drain[pm]) - int(static.pm_drain[source])
    state.totals[MOVES] += 1
    state.vm_pm[vm] = pm
    state.vm_numa[vm] = place
