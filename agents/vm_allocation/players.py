"""The learned potential of hosts as a policy; see envs/host_potential.py."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...datasets.hosts import host_potential
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.host_potential import potentials
from ...methods.vm_allocation.placement import Choice, PlacementRule


class Potential(PlacementRule):
    """Place a request where it lowers the learned potential of a host least."""

    def __init__(self) -> None:
        self.weights = host_potential()

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        super().reset(instance, budget, seed)
        core = instance.cpu_per_core
        self._core, self._size = float(core), instance.numa_cpu.max(axis=1) / core

    def scores(self, choice: Choice) -> np.ndarray:
        """Return what the potential of each place's host changes by."""
        hosts = len(choice.free_cpu)
        before, after = np.empty(hosts), np.empty(2 * hosts)
        potentials(self.weights, choice.free_cpu, self._size, self._core, before)
        left = np.ascontiguousarray(choice.left_cpu.reshape(-1, 2))
        potentials(self.weights, left, np.repeat(self._size, 2), self._core, after)
        return np.asarray(after.reshape(-1, 2) - before[:, None])
