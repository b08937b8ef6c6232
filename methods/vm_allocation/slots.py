"""What hosts are worth by the whole slots that they keep, and by how full they are.

After VMR2L's fragment rate (EuroSys 2025, section 2): what matters about free cores is how many
large VMs they hold. Once a request is on a host, a full host is better than an empty one: its
squares of free cores are taken off. Unlike a potential, whose differences alone count, that draws
requests to hosts that are full already.
"""

from __future__ import annotations

import numpy as np

from .placement import Choice, PlacementRule

# Of a 16-core slot, a 32-core slot, and a host with 32 cores free on both nodes, where the squares
# of free cores of a host of two empty nodes count 2: from solvers/vm_allocation/tuning.py.
TUNED_WEIGHTS = (0.594, 0.375, 2.95)


def slot_worth(weights: tuple[float, float, float], free: np.ndarray, core: int) -> np.ndarray:
    """Return the worth of the slots that hosts keep, float64 [...].

    Args:
        weights: of a 16-core slot, of a 32-core slot, and of 32 cores on both nodes.
        free: CPU of both nodes, int64 [..., 2].
        core: CPU of a core.
    """
    on_16, on_32, on_64 = weights
    worth = on_16 * (free // (16 * core)) + on_32 * (free // (32 * core))
    return np.asarray(worth.sum(axis=-1) + on_64 * (free.min(axis=-1) // (32 * core)))


def emptiness(free: np.ndarray, size: int) -> np.ndarray:
    """Return the sum of squares of free CPU of hosts, float64 [...], 2 for two empty nodes.

    Args:
        free: CPU of both nodes, int64 [..., 2].
        size: CPU of the largest node.
    """
    return np.asarray((free.astype(np.float64) ** 2).sum(axis=-1) / float(size) ** 2)


def slot_tables(weights: tuple[float, float, float], cores: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the worth of hosts before and after a request is on them, float64 [C+1, C+1] each.

    Args:
        weights: see `slot_worth`.
        cores: whole cores of the largest node, C.
    """
    free = np.stack(np.meshgrid(*[np.arange(cores + 1)] * 2, indexing="ij"), axis=-1)
    kept = slot_worth(weights, free, 1)
    return kept, kept - emptiness(free, cores)


class SlotPlacement(PlacementRule):
    """Place a request where it leaves the most worth of slots, on the fullest of such hosts."""

    weights = TUNED_WEIGHTS
    """Worth of a 16-core slot, a 32-core slot, and a host with 32 cores free on both nodes."""
    packing = 1.0
    """How much the squares of free cores count."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Return the worth of the slots that are left, less the emptiness of the host."""
        core, size = self.center.cpu_per_core, int(self.center.numa_cpu.max())
        before = slot_worth(self.weights, choice.free_cpu, core)
        kept = slot_worth(self.weights, choice.left_cpu, core) - before[:, None]
        return np.asarray(kept - self.packing * emptiness(choice.left_cpu, size))
