"""First, best and worst fit, and the alignment of demand and room (dot product).

Best and worst fit look at the CPU that is left on the nodes used. The dot product is Tetris'
alignment score (Grandl et al., SIGCOMM 2014): the host whose free CPU and memory point most in the
direction of the demand.
"""

from __future__ import annotations

import numpy as np

from ...methods.vm_allocation.placement import Choice, PlacementRule


class FirstFit(PlacementRule):
    """Place a request on the first place with room."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Return the same score for all places: the first legal one is taken."""
        return np.zeros((len(choice.free_cpu), 2))


class RandomFit(PlacementRule):
    """Place a request on any place with room."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Draw scores."""
        return np.asarray(self.rng.random((len(choice.free_cpu), 2)))


def _left(choice: Choice) -> np.ndarray:
    """Return CPU left on the nodes that the request would use, int64 [P, 2]."""
    left = choice.left_cpu
    used = left.sum(axis=2) if choice.spread == 2 else np.stack([left[:, 0, 0], left[:, 1, 1]], 1)
    return np.asarray(used)


class BestFit(PlacementRule):
    """Place a request where it leaves least CPU; of equal ones on the fuller host."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Return minus the CPU left on the nodes used, then of the host."""
        host = choice.left_cpu.sum(axis=2) / (1.0 + choice.free_cpu.sum(axis=1).max())
        return np.asarray(-(_left(choice) + host))


class WorstFit(PlacementRule):
    """Place a request where it leaves most CPU."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Return the CPU left on the nodes used."""
        return np.asarray(_left(choice), np.float64)


class DotProduct(PlacementRule):
    """Place a request on the host whose free CPU and memory it is most in line with."""

    def scores(self, choice: Choice) -> np.ndarray:
        """Return demand times room, both in parts of the largest node."""
        cpu = max(1, int(self.center.numa_cpu.max()))
        mem = max(1, int(self.center.numa_mem.max()))
        along = choice.cpu * choice.free_cpu / cpu**2 + choice.mem * choice.free_mem / mem**2
        if choice.spread == 2:
            along = np.repeat(along.sum(axis=1, keepdims=True), 2, axis=1)
        return np.asarray(along)
