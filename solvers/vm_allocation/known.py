"""What oracles know of a world: when each request arrives and leaves, and what it counts for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...datasets.vm_allocation.arrivals import Trace
from ...datasets.vm_allocation.instance import DataCenter


class Requests(NamedTuple):
    """The n requests that arrive before the horizon, in the order of their arrivals.

    Attributes:
        number: of each request in the trace, int64 [n].
        arrival: number of its arrival among the events, int64 [n].
        exit: number of its exit among the events, that of the last event + 1 if it stays, int64
            [n]; it is there at the moments between.
        flavor: int64 [n].
        cpu, mem: that it needs on all its nodes together, int64 [n].
        counted: CPU times seconds that are lost if it is rejected, int64 [n].
        is_served: whether it fits somewhere whatever is done with the others, bool [n].
    """

    number: np.ndarray
    arrival: np.ndarray
    exit: np.ndarray
    flavor: np.ndarray
    cpu: np.ndarray
    mem: np.ndarray
    counted: np.ndarray
    is_served: np.ndarray


def known_requests(center: DataCenter, trace: Trace) -> Requests:
    """Return the requests that arrive before the horizon.

    Args:
        center: whole.
        trace: the world's requests.
    """
    played = int(np.searchsorted(trace.event_s, center.horizon_s))
    events = trace.event_request[:played]
    number, arrival = np.unique(events, return_index=True)
    order = np.argsort(arrival)
    number, arrival = number[order], arrival[order]
    last = np.zeros(len(trace.flavor), np.int64)
    last[events] = np.arange(played)  # of several the last one stays
    leaves = np.where(last[number] > arrival, last[number], played)
    flavor = trace.flavor[number]
    cpu = center.flavor_total[flavor]
    mem = (center.flavor_mem * center.flavor_nodes)[flavor]
    seconds = np.minimum(trace.exit_s[number], center.horizon_s) - trace.arrive_s[number]
    counts = (number >= trace.starts) & (trace.arrive_s[number] >= round(3600 * center.warm_up_h))
    served = np.zeros(len(number), np.bool_)
    if memory_never_binds(center):
        # CPU of all that would be there if none were rejected, before each arrival.
        change = np.zeros(played + 1, np.int64)
        np.add.at(change, arrival, cpu)
        np.subtract.at(change, leaves[leaves < played], cpu[leaves < played])
        before = np.cumsum(change)[arrival] - cpu
        served = (before < _blocking(center)[flavor]) & (trace.group[number] < 0)
    return Requests(number, arrival, leaves, flavor, cpu, mem, cpu * seconds * counts, served)


def memory_never_binds(center: DataCenter) -> bool:
    """Whether VMs that fit by CPU fit by memory, whatever they are.

    Args:
        center: the data center.
    """
    most = (center.flavor_mem / center.flavor_cpu).max()
    return bool((most * center.numa_cpu <= center.numa_mem).all())


def _blocking(center: DataCenter) -> np.ndarray:
    """Return the least CPU in use at which a VM of each flavor fits nowhere, int64 [K]."""
    cpu = center.flavor_cpu[:, None, None]
    there = (center.numa_cpu > 0) & (center.numa_cpu >= cpu)  # [K, P, 2]
    needed = np.where(there, center.numa_cpu - cpu + 1, 0)
    both = np.where(there.all(axis=2), needed.min(axis=2), 0).sum(axis=1)
    return np.asarray(np.where(center.flavor_nodes == 2, both, needed.sum(axis=(1, 2))))
