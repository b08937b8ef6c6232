"""Choose the hosts of a trace: those of a list, or as many of one type as a load asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..hosts import PMS_PER_RACK
from ..stays import MB_PER_GB, HostType
from .generator import MOST_PMS
from .recorded import GivenHost, Recorded


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user says about hosts; None where nothing is said.

    Attributes:
        pms: number of hosts.
        node_cores: cores of each NUMA node.
        node_mem_gib: memory of each in GiB.
        nodes: NUMA nodes of a host, 1 or 2.
        load: of the hosts by what the trace holds, where no number of hosts is said.
    """

    pms: int | None = None
    node_cores: float | None = None
    node_mem_gib: float | None = None
    nodes: int | None = None
    load: float = 0.95

    @property
    def is_type(self) -> bool:
        """Whether a type of host is said."""
        return (self.node_cores, self.node_mem_gib, self.nodes) != (None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """What a trace holds.

    Attributes:
        cpu: mean, in cores.
        mem: mean, in MB.
        over: the time that it is the mean of, for messages.
        sizes: cores and MB of the VMs, on all nodes together, float64 [K, 2].
    """

    cpu: float
    mem: float
    over: str
    sizes: np.ndarray


def hosts_of(trace: Recorded, wishes: Wishes, demand: Demand) -> list[GivenHost]:
    """Return the hosts that a trace is played on.

    Args:
        trace: with its list of hosts, if it has one, and the type of host if not.
        wishes: what the user says.
        demand: what the trace holds.
    """
    if trace.listed and not wishes.is_type:
        if trace.is_catalogue:
            return _from_catalogue(trace, wishes, demand)
        if wishes.pms is None:
            return list(trace.listed)
    kind = HostType(
        trace.host.name,
        trace.host.cores if wishes.node_cores is None else wishes.node_cores,
        trace.host.memory_gb if wishes.node_mem_gib is None else wishes.node_mem_gib,
        trace.host.nodes if wishes.nodes is None else wishes.nodes,
    )
    memory = round(kind.memory_gb * MB_PER_GB)
    count = wishes.pms or trace.pms
    if count is None:
        by_cpu = round(demand.cpu / (wishes.load * kind.cores * kind.nodes))
        by_mem = int(np.ceil(demand.mem / (wishes.load * max(1, memory) * kind.nodes)))
        count = max(1, by_cpu, by_mem)
        if count > MOST_PMS:
            raise InstanceError(
                f"{trace.place}: the trace holds {demand.cpu:.4g} cores, more than {MOST_PMS} "
                "hosts; give larger hosts (node_cores, node_mem_gib)"
            )
        hosts = f"{count} host{'s' * (count > 1)} of {kind.nodes} x {kind.cores:g} cores"
        _tell(trace, demand, hosts, count * kind.nodes * kind.cores)
    nodes = [(kind.cores, memory)] * kind.nodes
    return [
        GivenHost(f"{kind.name}-{row}", str(row // PMS_PER_RACK), nodes) for row in range(count)
    ]


def _tell(trace: Recorded, demand: Demand, hosts: str, cores: float) -> None:
    note(
        f"{trace.place}: played on {hosts}, {demand.cpu / cores:.0%} of which the trace holds on "
        f"average {demand.over}; say otherwise by pms, node_cores, node_mem_gib, nodes, load"
    )


def _from_catalogue(trace: Recorded, wishes: Wishes, demand: Demand) -> list[GivenHost]:
    """Take hosts of a long list: one of each type that a large VM needs, then of the most common
    type, and one last host that comes nearest to the load.
    """
    types = Counter(tuple(host.nodes) for host in trace.listed)
    common = types.most_common(1)[0][0]
    taken: list[tuple[tuple[float, int], ...]] = []
    for cpu, mem in demand.sizes[np.argsort(-demand.sizes[:, 0], kind="stable")].tolist():
        if not any(_holds(one, cpu, mem) for one in taken):
            fitting = [one for one in types if _holds(one, cpu, mem)]
            if fitting:
                taken.append(min(fitting, key=lambda one: (_cores(one), -types[one])))
    if wishes.pms is not None:
        taken = (taken + [common] * wishes.pms)[: wishes.pms]
    else:
        wanted = demand.cpu / wishes.load
        while sum(map(_cores, taken)) + _cores(common) <= wanted or (
            sum(map(_memory, taken)) * wishes.load < demand.mem
        ):
            taken.append(common)
        lacking = wanted - sum(map(_cores, taken))
        last = min(types, key=lambda one: (abs(lacking - _cores(one)), -types[one]))
        if abs(lacking - _cores(last)) < abs(lacking):
            taken.append(last)
    left = Counter(taken)
    found = []
    for host in trace.listed:
        kind = tuple(host.nodes)
        if left[kind] > 0:
            left[kind] -= 1
            found.append(host)
    if wishes.pms is None:
        _tell(trace, demand, f"{len(found)} hosts of its list", sum(map(_cores, taken)))
    return found


def _cores(nodes: Sequence[tuple[float, int]]) -> float:
    return sum(cores for cores, _ in nodes)


def _memory(nodes: Sequence[tuple[float, int]]) -> int:
    return sum(memory for _, memory in nodes)


def _holds(nodes: Sequence[tuple[float, int]], cpu: float, mem: float) -> bool:
    return _cores(nodes) >= cpu and _memory(nodes) >= mem
