"""Replay arrivals and exits of VMs up to a time: from an event trace to a snapshot.

Traces say what was requested and when, not where it ran. The replay places each VM by best fit
(least CPU left) on hosts of one NUMA node, in order of time, and frees its resources when it
leaves, which scatters the free cores as churn does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from ...core.errors import InstanceError
from ...core.notes import note
from ..stays import MB_PER_GB, MILLI, HostType, Stays
from .instance import ACTIVE, DEFAULT_TASK, Cluster

MOST_TRIES = 2 * 10**10  # hosts that are looked at for all arrivals together: half a minute


def busiest_time(start: np.ndarray, end: np.ndarray) -> float:
    """Return the earliest time at which the most VMs run; a VM does not run at its end time.

    The time before the trace's first event counts as 1 before it.

    Args:
        start: float64 [N]; when each VM arrives, minus infinity if it was there before the trace.
        end: float64 [N]; when it leaves.
    """
    times = np.concatenate([start, end])
    finite = times[np.isfinite(times)]
    times = np.maximum(times, finite.min() - 1 if finite.size else 0.0)
    change = np.repeat([1, -1], [len(start), len(end)])
    order = np.argsort(times, kind="stable")
    times, running = times[order], np.cumsum(change[order])
    last_of_time = np.append(times[1:] != times[:-1], True)
    return float(times[last_of_time][running[last_of_time].argmax()])


def snapshot(
    place: str,
    stays: Stays,
    host: HostType,
    time: float | None,
    hosts: int | None,
    per_core: int = MILLI,
) -> Cluster:
    """Replay a trace and return the cluster at one time.

    Args:
        place: the trace's file, for error messages and the cluster's name.
        stays: the trace.
        host: the type of every host.
        time: time of the snapshot, in the trace's unit; None for the time with the most running
            VMs.
        hosts: number of hosts; a VM that finds no room on them is left out, as if another cluster
            had taken it. None: a host is added whenever none has room.
        per_core: units of CPU in a core.

    Raises:
        InstanceError: the trace is empty, a VM is larger than the host type, or none runs at that
            time.
    """
    if len(stays.start) == 0:
        raise InstanceError(f"{place}: holds no VMs; there is nothing to reschedule")
    lasting = stays.end > stays.start
    if not lasting.all():
        count = int((~lasting).sum())
        note(f"{place}: {count} VM{'s' * (count > 1)} left out that came and went at one time")
    room_cpu, room_mem = round(host.cores * per_core), round(host.memory_gb * MB_PER_GB)
    moment = busiest_time(stays.start, stays.end) if time is None else time
    came = np.flatnonzero((stays.start <= moment) & lasting)
    large = came[(stays.cpu[came] > room_cpu) | (stays.mem[came] > room_mem)]
    if large.size:
        vm = int(large[0])
        raise InstanceError(
            f"{place}: VM {stays.names[vm]!r} needs {stays.cpu[vm] / per_core:g} cores and "
            f"{stays.mem[vm]} MB, more than a host of {host.cores:g} cores and {room_mem} MB; "
            "choose a larger host type"
        )
    gone = np.flatnonzero((stays.end <= moment) & lasting)
    times = np.concatenate([stays.end[gone], stays.start[came]])
    vms = np.concatenate([gone, came])
    # At equal times exits come first, so that a name can be reused at once.
    order = np.argsort(times, kind="stable")
    arrives = (np.arange(len(times)) >= len(gone))[order]
    at, opened = _best_fit(
        vms[order],
        arrives,
        stays.cpu,
        stays.mem,
        room_cpu,
        room_mem,
        len(came) if hosts is None else hosts,
    )
    if opened < 0:
        raise InstanceError(
            f"{place}: {len(came)} VMs on thousands of hosts would take minutes to place; give a "
            "part of the trace"
        )
    running = np.flatnonzero((at >= 0) & (stays.end > moment))
    if running.size == 0:
        events = np.concatenate([stays.start, stays.end])
        first, last = (f"{at(events[np.isfinite(events)]):g}" for at in (np.min, np.max))
        raise InstanceError(
            f"{place}: no VM runs at time {moment:g}; the trace goes from {first} to {last}: "
            "choose a time between"
        )
    capacity = np.tile(np.array([room_cpu, room_mem], np.int64), (opened, 1))
    return one_node_cluster(
        f"{place}@{moment:g}",
        [f"{host.name}-{row}" for row in range(opened)],
        capacity,
        [stays.names[vm] for vm in running.tolist()],
        stays.cpu[running],
        stays.mem[running],
        [stays.kinds[vm] for vm in running.tolist()],
        at[running],
        np.zeros(running.size, np.bool_),
        per_core,
    )


@njit(cache=True)
def _best_fit(
    vms: np.ndarray,
    arrives: np.ndarray,
    cpu: np.ndarray,
    mem: np.ndarray,
    room_cpu: int,
    room_mem: int,
    hosts: int,
) -> tuple[np.ndarray, int]:
    """Replay events by best fit.

    Args:
        vms: int64 [E]; VM of each event, in order of time.
        arrives: bool [E]; True for an arrival, False for an exit.
        cpu: int64 [N]; demand of each VM, in parts of a core.
        mem: int64 [N]; demand of each VM, MB.
        room_cpu: CPU of a host, in parts of a core.
        room_mem: memory of a host, MB.
        hosts: the most hosts that may be used.

    Returns:
        Host of each VM, int64 [N], -1 if it never ran or found no room; and the number of hosts
        used, -1 if that takes more than MOST_TRIES looks at a host.
    """
    tries = 0
    at = np.full(len(cpu), -1, np.int64)
    free_cpu = np.full(hosts, room_cpu, np.int64)
    free_mem = np.full(hosts, room_mem, np.int64)
    opened = 0
    for event in range(len(vms)):
        vm = vms[event]
        if not arrives[event]:
            if at[vm] >= 0:
                free_cpu[at[vm]] += cpu[vm]
                free_mem[at[vm]] += mem[vm]
            continue
        tries += opened
        if tries > MOST_TRIES:
            return at, -1
        best = -1
        for pm in range(opened):
            fits = free_cpu[pm] >= cpu[vm] and free_mem[pm] >= mem[vm]
            if fits and (best < 0 or free_cpu[pm] < free_cpu[best]):
                best = pm
        if best < 0 and opened < hosts:
            best = opened
            opened += 1
        if best >= 0:
            at[vm] = best
            free_cpu[best] -= cpu[vm]
            free_mem[best] -= mem[vm]
    return at, opened


def one_node_cluster(
    name: str,
    pm_ids: Sequence[str],
    capacity: np.ndarray,
    vm_ids: Sequence[str],
    cpu: np.ndarray,
    mem: np.ndarray,
    kinds: Sequence[str],
    at: np.ndarray,
    pinned: np.ndarray,
    per_core: int = MILLI,
) -> Cluster:
    """Make a cluster of hosts with one NUMA node, with the default task.

    Args:
        name: name of the cluster.
        pm_ids: P names of hosts.
        capacity: int64 [P, 2]; CPU (parts of a core) and MB of each host.
        vm_ids: V names of VMs.
        cpu: int64 [V]; demand of each VM, in parts of a core.
        mem: int64 [V]; demand of each VM, MB.
        kinds: V names of flavors; VMs are of one flavor if name and demands are equal.
        at: int64 [V]; host of each VM.
        pinned: bool [V]; VMs that must not move.
        per_core: units of CPU in a core.
    """
    flavors: dict[tuple[str, int, int], int] = {}
    rows = zip(kinds, cpu.tolist(), mem.tolist(), strict=True)
    vm_flavor = [flavors.setdefault(row, len(flavors)) for row in rows]
    zeros = np.zeros(len(pm_ids), np.int64)
    return Cluster(
        name=name,
        pm_ids=tuple(pm_ids),
        pm_status=np.full(len(pm_ids), ACTIVE, np.int8),
        pm_rack=zeros,
        numa_cpu=np.stack([capacity[:, 0], zeros], axis=1),
        numa_mem=np.stack([capacity[:, 1], zeros], axis=1),
        flavor_names=tuple(key[0] for key in flavors),
        flavor_cpu=np.array([key[1] for key in flavors], np.int64),
        flavor_mem=np.array([key[2] for key in flavors], np.int64),
        flavor_nodes=np.ones(len(flavors), np.int64),
        vm_ids=tuple(vm_ids),
        vm_flavor=np.array(vm_flavor, np.int64),
        vm_pm=at.astype(np.int64),
        vm_numa=np.zeros(len(vm_ids), np.int64),
        vm_pinned=pinned.astype(np.bool_),
        set_start=np.zeros(1, np.int64),
        set_vms=np.zeros(0, np.int64),
        set_by_rack=np.zeros(0, np.bool_),
        **(DEFAULT_TASK | {"cpu_per_core": per_core}),  # type: ignore[arg-type]
    )
