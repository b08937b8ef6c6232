"""What hosts are worth for VMs to come, by what would be free on them without their larger VMs.

A node that one large VM fills is whole again when that VM leaves; one that many small VMs fill is
not for long. So the features of a host (envs/host_potential.py) are taken several times: of what is
free, and of what would be free if VMs of 32 cores a node and more had left, and of 16 and more. The
last slots of a kind are worth more than others: their worth falls with the number of such slots in
the data center.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.hosts import SIZE_LIMITS
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.host_potential import FEATURES, features

# Layers of a host: number of SIZE_LIMITS that VMs must stay below to be seen; the first sees all.
LAYERS = (len(SIZE_LIMITS), SIZE_LIMITS.index(32), SIZE_LIMITS.index(16))
SLOTS = (
    "slots_32", "slots_16", "slots_8", "slots_4", "both_32", "both_16", "both_8", "both_4",
)  # fmt: skip
SLOT_COLUMNS = np.array([FEATURES.index(name) for name in SLOTS])
FIRST_SCALE = 10.0  # slots after which the worth of a last one has fallen to 1 / e, untrained
USUAL_PMS = 100  # of the data centers for which scales are given


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of what hosts are worth.

    Attributes:
        layers: of the features in each layer, float64 [L, 20].
        last: worth of the last slot of each of SLOTS, beyond its weight, float64 [8].
        scale: number of slots, for 100 PMs, at which that has fallen to 1 / e, float64 [8].
    """

    layers: np.ndarray
    last: np.ndarray
    scale: np.ndarray

    def flat(self) -> np.ndarray:
        """Return all weights in one row, as an optimizer changes them: float64 [L * 20 + 16]."""
        return np.concatenate([self.layers.ravel(), self.last, np.log(self.scale / FIRST_SCALE)])


def unflat(row: np.ndarray) -> Weights:
    """Return the weights in one row of `Weights.flat`, float64 [L * 20 + 16]."""
    layers, last, scale = np.split(row, [-2 * len(SLOTS), -len(SLOTS)])
    return Weights(
        layers.reshape(-1, len(FEATURES)), last, FIRST_SCALE * np.exp(np.clip(scale, -4.0, 4.0))
    )


class Worth(NamedTuple):
    """Weights made ready for a data center, for compiled code.

    Attributes:
        tables: worth of a host without slots' scarcity, by kind of host, layer, and whole cores
            free on both nodes, float64 [S, L, C+1, C+1].
        slots: number of slots, by kind of host and whole cores free, float64 [S, C+1, C+1, 8].
        kind: kind of each host, by the cores of its larger node, int64 [P].
        capacity: CPU of nodes, int64 [P, 2], in 1/core cores.
        core: units of CPU in a core.
        layers: see LAYERS, int64 [L].
        last: see Weights.
        scale: of this data center.
    """

    tables: np.ndarray
    slots: np.ndarray
    kind: np.ndarray
    capacity: np.ndarray
    core: int
    layers: np.ndarray
    last: np.ndarray
    scale: np.ndarray


def worth_in(center: DataCenter, weights: Weights) -> Worth:
    """Make weights ready for a data center.

    Args:
        center: the data center.
        weights: trained ones.
    """
    core = center.cpu_per_core
    sizes, kind = np.unique(center.numa_cpu.max(axis=1) // core, return_inverse=True)
    rows = np.stack([_features_of(int(size), int(sizes[-1])) for size in sizes])
    tables = np.einsum("sabf,lf->slab", rows, weights.layers)
    return Worth(
        np.ascontiguousarray(tables),
        np.ascontiguousarray(rows[..., SLOT_COLUMNS]),
        kind.astype(np.int64),
        center.numa_cpu,
        core,
        np.array(LAYERS[: len(weights.layers)]),
        weights.last,
        weights.scale * np.sqrt(center.n_pms / USUAL_PMS),
    )


@njit(cache=True)
def _features_of(size: int, most: int) -> np.ndarray:
    """Return the features of a host by whole cores free, float64 [most+1, most+1, 20].

    Args:
        size: cores of the larger node.
        most: cores of the largest node of any host.
    """
    table = np.empty((most + 1, most + 1, 20))
    for a in range(most + 1):
        for b in range(most + 1):
            features(float(a), float(b), float(size), table[a, b])
    return table


@njit(cache=True, nogil=True)
def count_slots(worth: Worth, free: np.ndarray, counts: np.ndarray) -> None:
    """Count the data center's slots of each kind.

    Args:
        worth: of the data center.
        free: CPU of nodes, int64 [P, 2], in 1/core cores.
        counts: float64 [8], written to.
    """
    slots, kind, core = worth.slots, worth.kind, worth.core
    counts[:] = 0.0
    for pm in range(len(free)):
        row = slots[kind[pm], free[pm, 0] // core, free[pm, 1] // core]
        for j in range(len(counts)):
            counts[j] += row[j]


@njit(cache=True, nogil=True)
def price_slots(worth: Worth, counts: np.ndarray, prices: np.ndarray) -> None:
    """Write what a slot of each kind is worth beyond its weight.

    Args:
        worth: of the data center.
        counts: slots that there are, float64 [8].
        prices: float64 [8], written to.
    """
    for j in range(len(counts)):
        prices[j] = worth.last[j] * np.exp(-counts[j] / worth.scale[j])


@njit(cache=True, nogil=True, inline="always")
def change(
    worth: Worth, free: np.ndarray, under: np.ndarray, prices: np.ndarray, pm: int, node: int,
    cpu: int, spread: int, size: int, sign: int,
) -> float:  # fmt: skip
    """Return what a host's worth changes by when a VM comes to it or leaves it.

    Args:
        worth: of the data center.
        free: CPU of nodes, int64 [P, 2].
        under: CPU of the VMs below each of SIZE_LIMITS on both nodes, int64 [P, 6].
        prices: of slots, float64 [8].
        pm: index of the host.
        node: that the VM is on, 0 for both.
        cpu: of the VM on each of its nodes.
        spread: nodes that it uses.
        size: number of SIZE_LIMITS that its CPU on a node reaches.
        sign: 1 for a VM that comes, -1 for one that leaves.
    """
    kind, core = worth.kind[pm], worth.core
    first = sign * cpu if spread == 2 or node == 0 else 0
    second = sign * cpu if spread == 2 or node == 1 else 0
    a, b = free[pm, 0], free[pm, 1]
    before, after = (
        worth.slots[kind, a // core, b // core],
        worth.slots[kind, (a - first) // core, (b - second) // core],
    )
    total = worth.tables[kind, 0, (a - first) // core, (b - second) // core]
    total -= worth.tables[kind, 0, a // core, b // core]
    for j in range(len(prices)):
        total += prices[j] * (after[j] - before[j])
    for layer in range(1, len(worth.layers)):
        limit = worth.layers[layer]
        if size <= limit:
            a = worth.capacity[pm, 0] - under[pm, 2 * limit]
            b = worth.capacity[pm, 1] - under[pm, 2 * limit + 1]
            total += worth.tables[kind, layer, (a - first) // core, (b - second) // core]
            total -= worth.tables[kind, layer, a // core, b // core]
    return float(total)


@njit(cache=True, nogil=True)
def write_changes(
    worth: Worth, free: np.ndarray, under: np.ndarray, mask: np.ndarray, cpu: int, spread: int,
    size: int, changes: np.ndarray,
) -> None:  # fmt: skip
    """Write what a request changes the worth of hosts by, for each place.

    Args:
        worth: of the data center.
        free: CPU of nodes, int64 [P, 2].
        under: see `change`.
        mask: int8 [>= 2P]; 1 for places with room.
        cpu: see `change`, as the others.
        spread: see there.
        size: see there.
        changes: float64 [2P], written to; minus infinity for places without room.
    """
    counts, prices = np.empty(len(worth.last)), np.empty(len(worth.last))
    count_slots(worth, free, counts)
    price_slots(worth, counts, prices)
    for place in range(2 * len(free)):
        changes[place] = -np.inf
        if mask[place]:
            changes[place] = change(
                worth, free, under, prices, place // 2, place % 2, cpu, spread, size, 1
            )
