"""From a window of a trace to a data center whose requests are those of the trace.

What contenders see of it, the process, is fitted to the week before the window. The catalogue of
flavors is that of the whole trace, in order of size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core.errors import InstanceError, SettingError
from ...core.notes import note
from .fleets import Demand, Wishes, hosts_of
from .instance import DEFAULT_TASK, HOUR_S, MOST_HOURS, DataCenter
from .process import History, fit_process
from .recorded import GivenHost, Recorded
from .starts import Catalogue, Room, given_places, numbered, replayed_places

MOST_HISTORY_H = 7 * 24  # before a window: older requests say little about those to come


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a trace that is played.

    Attributes:
        start_h: hours from the trace's beginning to the window's.
        horizon_h: its length in hours; None for the rest of the trace.
        wishes: what the user says about hosts.
        spread_above: VMs of more cores are spread over both NUMA nodes; None for those that are
            too large for one.
        is_replayed: whether the VMs that are there at the start are where a replay of the trace by
            best fit has them; else those whose host is known keep it, and the policy places others.
    """

    start_h: float = 0.0
    horizon_h: float | None = None
    wishes: Wishes = field(default_factory=Wishes)
    spread_above: float | None = None
    is_replayed: bool = False


def data_center(trace: Recorded, window: Window) -> DataCenter:
    """Return the data center of a window.

    It begins with the VMs that are there by then; those that the policy places come in the order in
    which they arrived. Times are cut to whole seconds; a VM
    stays for one at least. Of events at one time, creations and deletions that have rows of their
    own keep the order of these; otherwise exits come first.

    Args:
        trace: the whole trace.
        window: the part to be played.

    Raises:
        InstanceError: the trace cannot be played; names the row and the remedy.
        SettingError: the window is not in the trace.
    """
    trace = trace.played()
    begin, end = _extent(trace)
    start = begin + window.start_h * HOUR_S
    if start >= end:
        raise SettingError(
            f"start_h={window.start_h:g}: {trace.place} has {(end - begin) / HOUR_S:.4g} hours; "
            "give fewer"
        )
    last = float(trace.stays.start.max())
    if last < start:
        raise InstanceError(
            f"{trace.place}: no VM arrives from hour {window.start_h:g} on; there is nothing to "
            "decide: give a trace with arrivals, or an earlier start_h"
        )
    # The last request is played, too.
    rest_h = max(math.ceil((end - start) / HOUR_S), math.floor((last - start) / HOUR_S) + 1, 1)
    horizon_h = min(float(rest_h), MOST_HOURS) if window.horizon_h is None else window.horizon_h
    horizon_s = round(horizon_h * HOUR_S)
    comes, leaves = trace.stays.start - start, trace.stays.end - start
    demand = _demand(trace, comes, leaves, start - begin, horizon_s)
    hosts = hosts_of(trace, window.wishes, demand)
    catalogue, numa_cpu, numa_mem, per_core = _sized(trace, hosts, window.spread_above)
    _refuse_large(trace, catalogue, numa_cpu, numa_mem, per_core)

    there = (comes < 0) & (leaves > 0)
    room = Room(numa_cpu, numa_mem, per_core)
    if window.is_replayed:
        place = replayed_places(trace, catalogue, room, comes, leaves)
        there &= place >= 0
    else:
        place = given_places(trace, catalogue, hosts, room, comes, there)
    arrives = (comes >= 0) & (comes < horizon_s)
    if not arrives.any():
        first = comes[comes >= 0].min() / HOUR_S + window.start_h
        raise SettingError(
            f"horizon_h={horizon_h:g}: no VM of {trace.place} arrives in the {horizon_h:g} hours "
            f"from hour {window.start_h:g} on; the next one does at hour {first:.4g}"
        )
    seq = trace.stays.lines if trace.stays.left_at.size else np.arange(len(comes))
    shown = np.flatnonzero(there | arrives)
    # Starts with a place first, so that no other takes their room; then by time.
    rank = np.where(there, np.where(place >= 0, 0, 1), 2)[shown]
    shown = shown[np.lexsort((seq[shown], comes[shown], rank))]
    of_shown = [trace.groups[int(vm)] for vm in shown] if trace.groups else ()
    starts = int(there.sum())
    event_s, event_request = _events(trace, shown, starts, comes, leaves)
    groups = numbered(trace.groups, len(comes))
    pinned = trace.pinned if trace.pinned.size else np.zeros(len(comes), np.bool_)
    seen_s = min(start - begin, MOST_HISTORY_H * HOUR_S)
    past = (comes < 0) & (comes >= -seen_s)
    process = dict(
        fit_process(
            History(seen_s / HOUR_S, comes[past], leaves[past], catalogue.of_vm[past],
                    groups[past], pinned[past]),
            len(catalogue.names),
        )
    )  # fmt: skip
    if not past.any():
        process["arrivals_per_h"] = _assumed_rate(catalogue, process, numa_cpu)
        note(
            f"{trace.place}: nothing of the trace is before the window; contenders are told of a "
            "process that is assumed, not fitted: begin later by start_h"
        )
    racks: dict[str, int] = {}
    return DataCenter(
        name=trace.name + (f"+{window.start_h:g}h" if window.start_h else ""),
        pm_ids=tuple(host.name for host in hosts),
        pm_rack=np.array([racks.setdefault(host.rack, len(racks)) for host in hosts], np.int64),
        numa_cpu=numa_cpu,
        numa_mem=numa_mem,
        cpu_per_core=per_core,
        flavor_names=catalogue.names,
        flavor_cpu=catalogue.cpu,
        flavor_mem=catalogue.mem,
        flavor_nodes=catalogue.nodes,
        start_vms=starts,
        stream=0,
        event_s=event_s,
        event_request=event_request,
        request_flavor=catalogue.of_vm[shown],
        request_set=numbered(of_shown, len(shown)),
        request_pinned=pinned[shown],
        request_place=place[shown],
        trace_starts=starts,
        **process,  # type: ignore[arg-type]
        **(DEFAULT_TASK | {"horizon_h": horizon_h}),  # type: ignore[arg-type]
    )


def _extent(trace: Recorded) -> tuple[float, float]:
    """Return when the trace begins and ends."""
    times = np.concatenate([trace.stays.start, trace.stays.end])
    times = times[np.isfinite(times)]
    begin = times.min() if trace.begin is None else trace.begin
    end = times.max() if trace.until is None else trace.until
    return float(begin), float(max(end, begin + 1))


def _demand(
    trace: Recorded, comes: np.ndarray, leaves: np.ndarray, past_s: float, horizon_s: int
) -> Demand:
    """Return the mean of what the trace holds: before the window, as long as the window is.

    Where the window begins within the trace's first hour, it is the mean over the window itself.
    """
    before = min(past_s, horizon_s)
    first, last, where = (-before, 0.0, "before") if before >= HOUR_S else (0.0, horizon_s, "in")
    over = f"in the {(last - first) / HOUR_S:.4g} hours {where} the window"
    stays = trace.stays
    seconds = (np.minimum(leaves, last) - np.maximum(comes, first)).clip(0)
    cpu, mem = (float(part @ seconds) / (last - first) for part in (stays.cpu, stays.mem))
    sizes = np.unique(np.stack([stays.cpu, stays.mem], axis=1), axis=0).astype(np.float64)
    return Demand(cpu / trace.per_core, mem, over, sizes / (trace.per_core, 1))


def _sized(
    trace: Recorded, hosts: Sequence[GivenHost], spread_above: float | None
) -> tuple[Catalogue, np.ndarray, np.ndarray, int]:
    """Return the flavors, CPU and memory of the hosts' nodes, and the units of CPU in a core.

    The unit is the largest in which all is whole.
    """
    stays, per_core = trace.stays, trace.per_core
    numa_cpu, numa_mem = np.zeros((len(hosts), 2), np.int64), np.zeros((len(hosts), 2), np.int64)
    for row, host in enumerate(hosts):
        for node, (cores, memory) in enumerate(host.nodes):
            numa_cpu[row, node], numa_mem[row, node] = round(cores * per_core), memory
    node_cpu, node_mem = numa_cpu.max(), numa_mem.max()
    if spread_above is None:
        large = (stays.cpu > node_cpu) | (stays.mem > node_mem)
    else:
        large = stays.cpu > spread_above * per_core
    large = large & bool((numa_cpu[:, 1] > 0).any())
    told = trace.nodes if trace.nodes.size else np.zeros(len(stays.cpu), np.int64)
    nodes = np.where(told > 0, told, np.where(large, 2, 1))
    if (stays.cpu[nodes == 2] % 2).any():
        numa_cpu, per_core = 2 * numa_cpu, 2 * per_core
        cpu = np.where(nodes == 2, stays.cpu, 2 * stays.cpu)
    else:
        cpu = stays.cpu // nodes
    mem = -(-stays.mem // nodes)
    unit = math.gcd(per_core, int(np.gcd.reduce(cpu)), int(np.gcd.reduce(numa_cpu.reshape(-1))))
    kinds: dict[str, int] = {}
    kind = np.array([kinds.setdefault(name, len(kinds)) for name in stays.kinds], np.int64)
    key = np.stack([cpu // unit, mem, nodes, kind], axis=1)
    rows, of_vm = np.unique(key, axis=0, return_inverse=True)
    named = list(kinds)
    # By size and name: the order in which flavors appear would tell what is to come.
    order = sorted(range(len(rows)), key=lambda k: (*rows[k, :3].tolist(), named[rows[k, 3]]))
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows))
    rows = rows[order]
    sizes = np.bincount(rows[:, 3], minlength=len(named))
    names = tuple(
        named[k] if sizes[k] == 1 else f"{named[k]} {n} x {c * unit / per_core:g}c{m}m"
        for c, m, n, k in rows.tolist()
    )
    cpu, mem, nodes = rows[:, :3].T.copy()
    catalogue = Catalogue(names, cpu, mem, nodes, rank[of_vm.reshape(-1)])
    return catalogue, numa_cpu // unit, numa_mem, per_core // unit


def _refuse_large(
    trace: Recorded,
    catalogue: Catalogue,
    numa_cpu: np.ndarray,
    numa_mem: np.ndarray,
    per_core: int,
) -> None:
    """Refuse the first VM that is larger than every empty host."""
    sizes = np.unique(np.concatenate([numa_cpu, numa_mem], axis=1), axis=0)
    for k in range(len(catalogue.names)):
        cpu, mem, nodes = (int(of[k]) for of in (catalogue.cpu, catalogue.mem, catalogue.nodes))
        holds = (sizes[:, :2] >= cpu) & (sizes[:, 2:] >= mem) & (sizes[:, :2] > 0)
        if not (holds.all(axis=1) if nodes == 2 else holds.any(axis=1)).any():
            vms = np.flatnonzero(catalogue.of_vm == k)
            first = int(vms[trace.stays.lines[vms].argmin()] if trace.stays.lines.size else vms[0])
            on = "each of two NUMA nodes" if nodes == 2 else "one NUMA node"
            trace.refuse(
                first,
                f"({trace.stays.kinds[first]}) needs {cpu / per_core:g} cores and {mem} MB on "
                f"{on}; no host has that: the largest node has {numa_cpu.max() / per_core:g} "
                f"cores, the largest memory is {numa_mem.max()} MB. Give larger hosts (node_cores, "
                "node_mem_gib, nodes), or leave such VMs out",
            )


def _events(
    trace: Recorded, shown: np.ndarray, starts: int, comes: np.ndarray, leaves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of the events and their requests, in the order in which they happen.

    Args:
        trace: the trace.
        shown: the VM of each request, int64 [R].
        starts: the first so many requests are there at the start.
        comes: arrival of each VM from the window's start, float64 [N].
        leaves: exit of each, likewise.
    """
    count = len(shown)
    comes, leaves = comes[shown].copy(), leaves[shown]
    comes[:starts] = 0.0
    second = np.floor(comes).astype(np.int64)
    ends = np.flatnonzero(np.isfinite(leaves))
    last = np.maximum(np.floor(leaves[ends]).astype(np.int64), second[ends] + 1)
    at_s = np.concatenate([second, last])
    exact = np.concatenate([comes, leaves[ends]])
    request = np.concatenate([np.arange(count), ends])
    if trace.stays.left_at.size:
        row = np.concatenate([trace.stays.lines[shown], trace.stays.left_at[shown[ends]]])
    else:
        row = np.concatenate([np.full(count, 1), np.zeros(len(ends), np.int64)])
    # The start's VMs come first, whatever their rows.
    row[:starts] = -1
    order = np.lexsort((request, row, exact, at_s))
    return at_s[order], request[order]


def _assumed_rate(catalogue: Catalogue, process: dict[str, object], numa_cpu: np.ndarray) -> float:
    """Return the arrivals an hour whose load is .95 of the hosts, if flavors are equally likely."""
    cores = float(process["flavor_share"] @ (catalogue.cpu * catalogue.nodes))  # type: ignore[operator]
    return 0.95 * float(numa_cpu.sum()) / (cores * float(process["law_mean_h"][0]))  # type: ignore[index]
