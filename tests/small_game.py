"""A small deterministic game in which the move that pays at once is the wrong one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

STEPS = 6


class Ladder(gym.Env[dict[str, np.ndarray], int]):
    """Six moves. Resting (0) pays 0.1 and loses all height, climbing (1) pays nothing; at the end
    every rung of the height pays a sixth. At even heights a third move, falling (2), is legal too.
    Greed gets 0.6, the best play 1.
    """

    observation_space = gym.spaces.Dict(
        {
            "state": gym.spaces.Box(0, 1, (2 * STEPS + 2,), np.float32),
            "action_mask": gym.spaces.Box(0, 1, (3,), np.int8),
        }
    )
    action_space = gym.spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.height = 0, 0
        return self.seen(), {}

    def seen(self) -> dict[str, np.ndarray]:
        state = np.zeros(2 * STEPS + 2, np.float32)
        state[self.time] = state[STEPS + 1 + self.height] = 1
        return {"state": state, "action_mask": np.array([1, 1, self.height % 2 == 0], np.int8)}

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        assert self.time < STEPS and self.seen()["action_mask"][action], "illegal"
        self.time += 1
        self.height = self.height + 1 if action == 1 else 0
        ended = self.time == STEPS
        reward = 0.1 * (action == 0) + ended * self.height / STEPS
        return self.seen(), reward, ended, False, {}

    def fork(self) -> Ladder:
        """A copy to be played on."""
        other = Ladder()
        other.time, other.height = self.time, self.height
        return other
