"""The room of hosts for what arrives, in points: objective admission.

The potential of a host (envs/host_potential.py, learned by placing VMs in worlds of vm_allocation)
says how well its free cores serve what arrives. Here it stands in whole points, so that the sum
over hosts is exact whatever moves led to it. Cores that are not free as a whole do not count. A
host of more than two NUMA nodes counts as several of two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...datasets.hosts import host_potential
from ...datasets.vm_rescheduling.instance import ACTIVE, Cluster
from ..host_potential import potentials

POINTS = 10  # in one unit of potential; placing by so rounded a potential rejects no more
TIE = 1e-9  # half points are rounded up, whatever order their terms are added in


class Rooms(NamedTuple):
    """Points of the pairs of NUMA nodes of a cluster's hosts.

    Attributes:
        points: int64 [T]; tables one after the other, each [a + 1, b + 1] for a pair of a and b
            cores; [1] for other objectives than admission.
        start: int64 [P, N/2]; where the table of each pair begins.
        cores: int64 [P, N]; whole cores of each node, N rounded up to an even number.
        empty, full: points of all ACTIVE hosts without VMs, and without a free core.
    """

    points: np.ndarray
    start: np.ndarray
    cores: np.ndarray
    empty: int
    full: int


def make_rooms(cluster: Cluster) -> Rooms:
    """Tabulate the room of a cluster's hosts.

    Args:
        cluster: the instance.
    """
    cores = cluster.numa_cpu // cluster.cpu_per_core
    if cores.shape[1] % 2:
        cores = np.column_stack([cores, np.zeros(len(cores), np.int64)])
    pairs = cores.shape[1] // 2
    if cluster.objective != "admission":
        return Rooms(np.zeros(1, np.int64), np.zeros((len(cores), pairs), np.int64), cores, 0, 0)
    kinds, kind = np.unique(cores.reshape(-1, 2), axis=0, return_inverse=True)
    tables = [points_by_cores(int(a), int(b)) for a, b in kinds]
    sizes = [table.size for table in tables]
    start = (np.cumsum(sizes) - sizes)[kind].reshape(-1, pairs)
    points = np.concatenate([table.ravel() for table in tables])
    active = cluster.pm_status == ACTIVE
    size = np.array(sizes)[kind].reshape(-1, pairs)
    return Rooms(
        points,
        start.astype(np.int64),
        cores,
        empty=int(points[start + size - 1][active].sum()),
        full=int(points[start][active].sum()),
    )


def points_by_cores(first: int, second: int) -> np.ndarray:
    """Return the points of a pair of nodes by its free cores, int64 [first + 1, second + 1].

    Args:
        first: cores of the first node.
        second: cores of the second, 0 if there is none.
    """
    free = np.indices((first + 1, second + 1)).reshape(2, -1).T.astype(np.int64)
    size = np.full(len(free), float(max(first, second, 1)))
    potential = np.empty(len(free))
    potentials(host_potential(), free, size, 1.0, potential)
    points = np.floor(POINTS * potential + 0.5 + TIE).astype(np.int64)
    return points.reshape(first + 1, second + 1)
