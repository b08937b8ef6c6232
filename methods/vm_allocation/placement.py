"""Policies that place each request where a rule scores highest, and make no migrations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.observation import Clock, Pm


@dataclass(frozen=True, slots=True)
class Choice:
    """A request and the hosts, in numbers.

    Attributes:
        flavor: index of the request's flavor.
        cpu, mem: that it needs on each node that it uses, in the instance's unit and in MB.
        spread: nodes that it uses, 1 or 2.
        free_cpu, free_mem: int64 [P, 2], as they are.
        left_cpu: int64 [P, 2, 2]; free CPU of both nodes of a host once the request is on it: row
            p, column n is for place `2 * p + n`.
        hosts: float64 [P, 23]; the hosts as observed, by the columns of observation.Pm.
        request: float32 [13]; the request as observed, by the columns of observation.Asked.
    """

    flavor: int
    cpu: int
    mem: int
    spread: int
    free_cpu: np.ndarray
    free_mem: np.ndarray
    left_cpu: np.ndarray
    hosts: np.ndarray
    request: np.ndarray


class PlacementRule:
    """A policy that places each request on the legal place with the highest score.

    Of equal scores the place with the lowest number is taken. At a chance to migrate it stops.
    """

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        self.center = instance
        self.rng = np.random.default_rng(seed)
        pms = instance.n_pms
        self._cpu_scale = float(instance.numa_cpu.sum(axis=1).max())
        self._mem_scale = float(max(1, instance.numa_mem.sum(axis=1).max()))
        self._stop, self._places = instance.n_slots, 2 * pms

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Return the place of the request, or that no migration is wanted."""
        if observation["clock"][Clock.CHOOSE] > 0:
            return self._stop
        mask = observation["action_mask"][: self._places] > 0
        if observation["flavor"][0] < 0:  # the horizon
            return int(mask.argmax())
        scores = self.scores(self._choice(observation)).reshape(-1)
        return int(np.where(mask, scores, -np.inf).argmax())

    def _choice(self, observation: Mapping[str, np.ndarray]) -> Choice:
        center, pms = self.center, observation["pms"][: self.center.n_pms].astype(np.float64)
        k = int(observation["flavor"][0])
        cpu, mem, spread = (
            int(of[k]) for of in (center.flavor_cpu, center.flavor_mem, center.flavor_nodes)
        )
        free_cpu = np.rint(pms[:, Pm.FREE_CPU_0 : Pm.FREE_CPU_1 + 1] * self._cpu_scale)
        free_mem = np.rint(pms[:, Pm.FREE_MEM_0 : Pm.FREE_MEM_1 + 1] * self._mem_scale)
        taken = np.full((2, 2), cpu) if spread == 2 else np.diag((cpu, cpu))
        left = free_cpu[:, None, :] - taken
        return Choice(
            k, cpu, mem, spread, free_cpu.astype(np.int64), free_mem.astype(np.int64),
            left.astype(np.int64), pms, observation["request"],
        )  # fmt: skip

    @abstractmethod
    def scores(self, choice: Choice) -> np.ndarray:
        """Return the score of each place, float64 [P, 2]; those of illegal places do not count.

        Args:
            choice: the request and the hosts.
        """
