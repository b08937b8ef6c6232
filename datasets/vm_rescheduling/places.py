"""The ways in which a VM can lie on the NUMA nodes of a host.

A VM has one part or several (the NUMA cells of a guest), each on a node of its own. Which parts are
on which nodes is its place; parts that need the same are interchangeable, so that a VM of two equal
parts has one place on a host of two nodes, and one of two unequal parts has two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...core.errors import InstanceError

MOST_PLACES = 2000  # of a flavor on one host
MOST_CELLS = 20_000_000  # flavors x places x nodes, which tables hold
Part = tuple[int, int]  # CPU and memory


@dataclass(frozen=True, slots=True)
class Places:
    """What each flavor needs of each NUMA node, in each of its places; K flavors, N nodes a host.

    Attributes:
        stride: S, the most places that a flavor has, and at least 2.
        count: int64 [K]; places of each flavor.
        cpu: int64 [K, S, N]; CPU needed of each node, 0 where the VM is not.
        mem: int64 [K, S, N]; memory, MB.
        uses: bool [K, S, N]; nodes on which the VM is.
    """

    stride: int
    count: np.ndarray
    cpu: np.ndarray
    mem: np.ndarray
    uses: np.ndarray


def places_of(parts: tuple[Part, ...], nodes: int) -> list[tuple[int, ...]]:
    """Return the places of a VM on a host: the node of each part, in order.

    Args:
        parts: CPU and memory of each part.
        nodes: NUMA nodes of the host.

    Returns:
        The places in ascending order; of a VM of one part, place s is node s.

    Raises:
        InstanceError: there are more than MOST_PLACES.
    """
    alike: dict[Part, list[int]] = {}
    for at, part in enumerate(parts):
        alike.setdefault(part, []).append(at)
    count, left = 1, nodes
    for group in alike.values():
        count *= math.comb(left, len(group))
        left -= len(group)
        if count > MOST_PLACES:
            raise InstanceError(
                f"a VM of {len(parts)} parts ({len(alike)} different ones) has more than "
                f"{MOST_PLACES} places on a host of {nodes} NUMA nodes; make its parts equal, or "
                "fewer"
            )
        if left < 0:
            break  # more parts than nodes: no place
    found: list[dict[int, int]] = [{}]
    for group in alike.values():
        found = [
            place | dict(zip(group, chosen, strict=True))
            for place in found
            for chosen in combinations(
                [node for node in range(nodes) if node not in place.values()], len(group)
            )
        ]
    return sorted(tuple(place[at] for at in range(len(parts))) for place in found)


def make_places(flavors: list[tuple[Part, ...]], nodes: int) -> Places:
    """Return the places of all flavors.

    Args:
        flavors: CPU and memory of each part of each flavor.
        nodes: the most NUMA nodes of a host.

    Raises:
        InstanceError: a flavor has more than MOST_PLACES places, or all have too many.
    """
    alike: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    of_flavor = []
    for parts in flavors:
        shape = tuple(parts.index(part) for part in parts)  # which parts are equal
        if shape not in alike:
            alike[shape] = places_of(parts, nodes)
        of_flavor.append(alike[shape])
    stride = max(2, *map(len, of_flavor)) if of_flavor else 2
    if len(flavors) * stride * nodes > MOST_CELLS:
        raise InstanceError(
            f"{len(flavors)} flavors with {stride} places each on hosts of {nodes} NUMA nodes are "
            f"more than {MOST_CELLS} cells; make the parts of VMs equal, or split the snapshot"
        )
    cpu = np.zeros((len(flavors), stride, nodes), np.int64)
    mem, uses = np.zeros_like(cpu), np.zeros(cpu.shape, np.bool_)
    for k, (parts, places) in enumerate(zip(flavors, of_flavor, strict=True)):
        rows = np.arange(len(places))
        for column, (cores, memory) in zip(np.array(places).T, parts, strict=True):
            cpu[k, rows, column], mem[k, rows, column] = cores, memory
            uses[k, rows, column] = True
    return Places(stride, np.array([len(p) for p in of_flavor], np.int64), cpu, mem, uses)
