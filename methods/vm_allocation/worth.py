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


# These take arrays rather than the named tuple: in loops over hosts that is several times faster.


@njit(cache=True, nogil=True, inline="always")
def _cores(cpu: int, core: float) -> int:
    """Return whole cores: a multiplication, where a division would take most of the time."""
    return int((cpu + 0.5) * core)


@njit(cache=True, nogil=True)
def price_slots(worth: Worth, free: np.ndarray, prices: np.ndarray) -> None:
    """Write what a slot of each kind is worth beyond its weight.

    Args:
        worth: of the data center.
        free: CPU of nodes, int64 [P, 2], in 1/core cores.
        prices: float64 [8], written to.
    """
    slots, kinds, core = worth.slots, worth.kind, 1.0 / worth.core
    prices[:] = 0.0
    for pm in range(len(free)):
        kind, a, b = kinds[pm], _cores(free[pm, 0], core), _cores(free[pm, 1], core)
        for j in range(len(prices)):
            prices[j] += slots[kind, a, b, j]
    for j in range(len(prices)):
        prices[j] = worth.last[j] * np.exp(-prices[j] / worth.scale[j])


@njit(cache=True, nogil=True, inline="always")
def host_worth(
    tables: np.ndarray, slots: np.ndarray, capacity: np.ndarray, layers: np.ndarray, core: float,
    free: np.ndarray, under: np.ndarray, prices: np.ndarray, pm: int, kind: int, first: int,
    second: int, size: int,
) -> float:  # fmt: skip
    """Return what a host is worth with more on its nodes, in the layers that see the VM at issue.

    Args:
        tables: see Worth, as `slots`, `capacity` and `layers`.
        slots: see there.
        capacity: see there.
        layers: see there.
        core: cores in a unit of CPU.
        free: CPU of nodes, int64 [P, 2].
        under: CPU of the VMs below each of SIZE_LIMITS on both nodes, int64 [P, 6].
        prices: of slots, float64 [8].
        pm: index of the host.
        kind: its kind.
        first: CPU more on its first node; less where that is below 0.
        second: likewise on its second node.
        size: number of SIZE_LIMITS that the VM's CPU on a node reaches.
    """
    a, b = _cores(free[pm, 0] - first, core), _cores(free[pm, 1] - second, core)
    total = tables[kind, 0, a, b]
    for j in range(len(prices)):
        total += prices[j] * slots[kind, a, b, j]
    for layer in range(1, len(layers)):
        column = 2 * layers[layer]
        if 2 * size <= column:
            a = _cores(capacity[pm, 0] - under[pm, column] - first, core)
            b = _cores(capacity[pm, 1] - under[pm, column + 1] - second, core)
            total += tables[kind, layer, a, b]
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
        under: see `host_worth`.
        mask: int8 [>= 2P]; 1 for places with room.
        cpu: that the VM needs on each of its nodes.
        spread: nodes that it uses.
        size: see `host_worth`.
        changes: float64 [2P], written to; minus infinity for places without room.
    """
    tables, slots, capacity, layers = worth.tables, worth.slots, worth.capacity, worth.layers
    kinds, core, prices = worth.kind, 1.0 / worth.core, np.empty(len(worth.last))
    price_slots(worth, free, prices)
    other = cpu if spread == 2 else 0
    for pm in range(len(free)):
        first, second, kind = mask[2 * pm], mask[2 * pm + 1], kinds[pm]
        changes[2 * pm] = changes[2 * pm + 1] = -np.inf
        if not (first or second):
            continue
        now = host_worth(
            tables, slots, capacity, layers, core, free, under, prices, pm, kind, 0, 0, size
        )
        if first:
            changes[2 * pm] = host_worth(
                tables, slots, capacity, layers, core, free, under, prices, pm, kind, cpu, other,
                size,
            ) - now  # fmt: skip
        if second:
            changes[2 * pm + 1] = host_worth(
                tables, slots, capacity, layers, core, free, under, prices, pm, kind, 0, cpu, size
            ) - now  # fmt: skip
