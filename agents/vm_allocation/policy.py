"""The trained network as a contender: it places requests and makes no migrations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.observation import Clock
from ..checkpoints import SHIPPED
from ..players import LikeliestActions


class Ppo(LikeliestActions):
    """Place each request where the network's logit is the highest.

    The shipped policy was trained in worlds without migrations, so it stops at every chance.

    Args:
        policy: folder of another policy; None for the shipped one.
    """

    def __init__(self, policy: Path | None = None) -> None:
        super().__init__(policy or SHIPPED / "vm_allocation_ppo")

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        super().reset(instance, budget, seed)
        self._stop = instance.n_slots

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Return the likeliest place, or that no migration is wanted."""
        if observation["clock"][Clock.CHOOSE] > 0:
            return self._stop
        return super().act(observation, info)
