"""The environment runner of MuZero's self-play."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from ...core.errors import SettingError


class MuZeroEnvRunner(SingleAgentEnvRunner):
    """RLlib's runner; noise seeded for each runner, and in known-model mode the module is shown the
    environments that it plays.
    """

    def make_module(self) -> None:
        """Builds the module and ties it to this runner."""
        super().make_module()
        seed = self.config.seed
        if seed is not None:
            self.module.rng = np.random.default_rng([seed, self.worker_index or 0])
        if self.config.known_model and self.env is not None:
            if not isinstance(self.env.unwrapped, gym.vector.SyncVectorEnv):
                raise SettingError(
                    "known_model searches in copies of the environments, which must be in the "
                    "runner's own process: leave gym_env_vectorize_mode at SYNC"
                )
            self.module.simulators = self._simulators

    def _simulators(self) -> list[Any]:
        """None for an environment whose episode has ended: the step to come resets it."""
        games = [env.unwrapped for env in self.env.unwrapped.envs]
        pairs = zip(games, self._ongoing_episodes, strict=True)
        return [game if episode.is_reset else None for game, episode in pairs]
