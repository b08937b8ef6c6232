"""The environment runner of MuZero's self-play."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...core.errors import SettingError
from ..runner import Runner


class MuZeroEnvRunner(Runner):
    """RLlib's environment runner for self-play.

    The exploration noise is seeded for each runner; with `known_model`, the module searches in the
    runner's environments.
    """

    def make_module(self) -> None:
        """Build the module and connect it to this runner.

        Raises:
            SettingError: with `known_model`, the environments are in other processes.
        """
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
        """Return the environments, and None for one whose episode has ended: the next step resets
        it.
        """
        games = [env.unwrapped for env in self.env.unwrapped.envs]
        pairs = zip(games, self._ongoing_episodes, strict=True)
        return [game if episode.is_reset else None for game, episode in pairs]
