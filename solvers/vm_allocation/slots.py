"""Keep whole slots for large VMs: 16 free cores on a node, 32, and 32 on both nodes of a host.

Of places that keep as many slots, the one on the fullest host is taken (least sum of squares of
free cores once the request is there); see methods/vm_allocation/slots.py.
"""

from __future__ import annotations

import numpy as np

from ...methods.vm_allocation.placement import Choice, PlacementRule
from ...methods.vm_allocation.slots import TUNED_WEIGHTS, emptiness, slot_worth

TIE = 1e-3  # small against any slot, so that it decides among places that keep the same


class Slots(PlacementRule):
    """Keep 16-core slots."""

    weights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Worth of a 16-core slot, a 32-core slot, and a host with 32 cores free on both nodes."""
    packing = TIE
    """How much the squares of free cores count."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Return the worth of the slots that are left, less the emptiness of the host."""
        core, size = self.center.cpu_per_core, int(self.center.numa_cpu.max())
        before = slot_worth(self.weights, choice.free_cpu, core)
        kept = slot_worth(self.weights, choice.left_cpu, core) - before[:, None]
        return np.asarray(kept - self.packing * emptiness(choice.left_cpu, size))


class TunedSlots(Slots):
    """Keep 16-, 32- and 64-core slots, and full hosts, by weights tuned on medium-95:train."""

    weights = TUNED_WEIGHTS
    packing = 1.0
