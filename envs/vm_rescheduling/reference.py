"""The validator's own rules of places and its own potential of hosts, in plain Python."""

from __future__ import annotations

import math
from functools import cache

from ...datasets.hosts import host_potential
from ...datasets.vm_rescheduling.instance import Cluster


def needs_of(cluster: Cluster, kind: int) -> list[tuple[int, int]]:
    """Return CPU and memory of each part of a flavor.

    Args:
        cluster: the instance.
        kind: index of the flavor.
    """
    count = int(cluster.flavor_nodes[kind])
    if cluster.part_cpu.size:
        sizes = zip(cluster.part_cpu[kind], cluster.part_mem[kind], strict=True)
        return [(int(cpu), int(mem)) for cpu, mem in sizes][:count]
    return [(int(cluster.flavor_cpu[kind]), int(cluster.flavor_mem[kind]))] * count


def ways(parts: list[tuple[int, int]], nodes: int) -> list[tuple[int, ...]]:
    """Return the ways to lay parts on different NUMA nodes, in ascending order.

    Of those that differ only in which of two equal parts is where, the one that comes first counts.

    Args:
        parts: CPU and memory of each.
        nodes: of the host.
    """
    found: list[tuple[int, ...]] = [()]
    for at, part in enumerate(parts):
        before = [other for other in range(at) if parts[other] == part]
        lowest = before[-1] if before else None
        found = [
            (*way, node)
            for way in found
            for node in range(nodes)
            if node not in way and (lowest is None or node > way[lowest])
        ]
    return sorted(found)


@cache
def room_of(a: int, b: int, size: int) -> int:
    """Return the learned potential of two nodes with a and b free cores, in tenths.

    Args:
        a: free cores of one node.
        b: free cores of the other, 0 if there is none.
        size: cores of the larger one.
    """
    both = (a, b)
    low = min(both)
    facts = [float(sum(x // slot for x in both)) for slot in (32, 16, 8, 4)]
    facts += [sum(x % slot for x in both) / slot for slot in (16, 8)]
    facts += [both.count(0), sum(x >= size for x in both), sum(x >= size - 4 for x in both)]
    facts += [low // slot for slot in (32, 16, 8, 4)]
    facts += [low >= size, low >= 32, (sum(both) / (2 * size)) ** 2, abs(a - b) / size, a == b]
    facts += [max(both) >= 16, a * b / size**2]
    potential = math.fsum(w * x for w, x in zip(host_potential().tolist(), facts, strict=True))
    return math.floor(10.0 * potential + 0.5 + 1e-9)
