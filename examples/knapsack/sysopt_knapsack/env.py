"""The environment sysopt/Knapsack-v0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from sysopt_gym.core.errors import IllegalActionError
from sysopt_gym.envs.actions import LegalDiscrete
from sysopt_gym.envs.base import FamilyEnv, Observation

from .instance import Items


class KnapsackEnv(FamilyEnv[Items]):
    """Pick items one by one while they fit.

    ## Action space
    `Discrete(N_max)`: the item to pick; one that does not fit, or is picked, is masked out.

    ## Observation space
    `items` float32 [N_max, 3]: value and weight as parts of the largest, and value per weight as a
    part of the highest; `action_mask` int8 [N_max].

    ## Rewards
    The value of the item as a part of all items' value. The score is `info["objective"]`.

    ## Episode end
    Terminated when no item fits any more.
    """

    family = "knapsack"

    def __init__(
        self,
        instances: str | Path | Items | Sequence[Items] = "knapsack:train",
        settings: Mapping[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Make the spaces, with room for the largest of the instances.

        Args:
            instances: a set's name, a file's path, or problems.
            settings: texts by name, as `--set`.
            render_mode: "rgb_array", "human" or None.
        """
        super().__init__(instances, settings, render_mode)
        self.most = max(len(items.value) for items in self.instances)
        self.action_space = LegalDiscrete(self.most)
        self.action_space.belong_to(self._draw_legal)
        self.observation_space = spaces.Dict(
            {
                "items": spaces.Box(0.0, 1.0, (self.most, 3), np.float32),
                "action_mask": spaces.MultiBinary(self.most),
            }
        )

    def _begin(self, instance: Items, seed: int | None, options: Mapping[str, Any]) -> None:
        self.items = instance
        self.picked = np.zeros(len(instance.value), np.bool_)
        kinds = np.stack([instance.value, instance.weight, instance.value / instance.weight], 1)
        self._features = np.zeros((self.most, 3), np.float32)
        self._features[: len(kinds)] = kinds / kinds.max(axis=0)

    def _play(self, action: Any) -> tuple[float, bool]:
        if not (0 <= action < self.most and self._mask()[action]):
            raise IllegalActionError(f"{self.items.name}: item {action} is picked or does not fit")
        self.picked[action] = True
        reward = self.items.value[action] / self.items.value.sum()
        return float(reward), not self._mask().any()

    def _observation(self) -> Observation:
        return {"items": self._features.copy(), "action_mask": self._mask()}

    def _info(self) -> dict[str, Any]:
        return {"objective": float(self.items.value[self.picked].sum()), "feasible": True}

    def _frame(self) -> np.ndarray:
        """Draw a bar for each item, as high as its weight; what is picked is dark."""
        frame = np.full((60, 8 * self.most, 3), 255, np.uint8)
        for item, weight in enumerate(self.items.weight.tolist()):
            color = 60 if self.picked[item] else 200
            frame[max(0, 60 - weight) :, 8 * item : 8 * item + 6] = color
        return frame

    def _own_episode(self) -> None:
        self.picked = self.picked.copy()

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        if seed is None:
            return rng.choice(np.flatnonzero(self._mask()))
        items, _ = self._drawn_after(seed)
        return rng.choice(np.flatnonzero(items.weight <= items.capacity))

    def _mask(self) -> np.ndarray:
        """Mark the items that can be picked, int8 [N_max]."""
        mask = np.zeros(self.most, np.int8)
        left = self.items.capacity - self.items.weight[self.picked].sum()
        mask[: len(self.picked)] = (self.items.weight <= left) & ~self.picked
        return mask
