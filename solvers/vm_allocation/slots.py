"""Keep whole slots for large VMs: 16 free cores on a node, 32, and 32 on both nodes of a host.

After VMR2L's fragment rate (EuroSys 2025, section 2): what matters about free cores is how many
large VMs they hold. Of places that keep as many, the one on the fullest host is taken (least sum of
squares of free cores).
"""

from __future__ import annotations

import numpy as np

from ...methods.vm_allocation.placement import Choice, PlacementRule


class Slots(PlacementRule):
    """Keep 16-core slots."""

    weights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Worth of a 16-core slot, a 32-core slot, and a host with 32 cores free on both nodes."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Return the worth of the slots that are left, then of packing tightly."""
        core = self.center.cpu_per_core
        free = np.repeat(choice.free_cpu[:, None, :], 2, axis=1)
        kept = self._worth(choice.left_cpu, core) - self._worth(free, core)
        squares = (choice.left_cpu.astype(np.float64) ** 2).sum(axis=2)
        # Small against any slot, so that it decides among places that keep the same.
        return np.asarray(kept - squares / (1e3 * float(self.center.numa_cpu.max()) ** 2))

    def _worth(self, free: np.ndarray, core: int) -> np.ndarray:
        """Return the worth of hosts' slots.

        Args:
            free: CPU of both nodes, int64 [..., 2].
            core: CPU of a core.
        """
        on_16, on_32, on_64 = self.weights
        worth = on_16 * (free // (16 * core)) + on_32 * (free // (32 * core))
        return np.asarray(worth.sum(axis=-1) + on_64 * (free.min(axis=-1) // (32 * core)))


class TunedSlots(Slots):
    """Keep 16-, 32- and 64-core slots, which count alike: the weights have not been tuned yet."""

    weights = (1.0, 1.0, 1.0)
