"""The environment runner that plays compiled: whole episodes a call, no observation in Python."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.wrappers.vector import DictInfoToList
from ray.rllib.callbacks.utils import make_callback

from ..runner import Part, Runner
from .groups import group_size, in_groups
from .segment import Order, Segment, self_play_of


class Lanes(NamedTuple):
    """What callbacks get in place of an environment.

    Attributes:
        instances_now: the instance that each lane plays, or has just played to its end.
        rows_now: their positions among the instances.
    """

    instances_now: list[Any]
    rows_now: list[int]


class CompiledRunner(Runner):
    """RLlib's environment runner whose episodes are a family's compiled self-play.

    It keeps one environment, for the spaces and for the odds of the instances, and plays
    `num_envs_per_env_runner` lanes. Each call of `sample` draws from a generator of its own, so a
    run that goes on plays what it would have.
    """

    kept = ("_calls", "games")
    """Attributes that RLlib's state of a runner lacks; see continuation.py."""

    def make_env(self) -> None:
        """Make the environment and the player."""
        arguments = dict(self.config.env_config)
        single = gym.make_vec(self.config.env, 1, gym.VectorizeMode.SYNC, **arguments)
        self.env = DictInfoToList(single)
        self.num_envs = self.config.num_envs_per_env_runner
        instances = self._single.instances
        self._lanes = Lanes([instances[0]] * self.num_envs, [0] * self.num_envs)
        self_play = self_play_of(self.config.rl_module_spec.model_config)
        assert self_play is not None  # else setup.py would have chosen another runner
        self._player = self_play.player(instances, arguments, self.num_envs)
        self._calls = (0, 0)  # number of the weights, and calls with them

    @property
    def _single(self) -> Any:
        """Return the environment, which a restored runner has another of."""
        return self.env.unwrapped.envs[0].unwrapped

    @property
    def games(self) -> Any:
        """Episodes that have begun and not ended, of the player's kind."""
        return self._player.games

    @games.setter
    def games(self, games: Any) -> None:
        self._player.games = games

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[Segment[Any]]:
        """Play; see RLlib's runner. Its actions are never random."""
        number, calls = self._calls
        self._calls = (self._weights_seq_no, calls + 1 if number == self._weights_seq_no else 0)
        rng = np.random.default_rng([self.config.seed or 0, self.worker_index or 0, *self._calls])
        order = Order(
            steps=num_timesteps or 0,
            episodes=num_episodes or 0,
            greedy=not explore,
            discount=self.config.gamma,
            draw=in_groups(lambda: int(self._single.draw_row(rng)), group_size(self.config)),
            rng=rng,
        )
        segments = self._player.play(self.module.network, order)
        for segment in segments:
            self._count(segment)
        return segments

    def _count(self, segment: Segment[Any]) -> None:
        """Note a segment for the metrics, as RLlib notes episodes."""
        self._lanes.instances_now[segment.lane] = self._single.instances[segment.instance]
        self._lanes.rows_now[segment.lane] = segment.instance
        earlier = self._ongoing_episodes_for_metrics[segment.id_]
        if segment.is_done:
            make_callback(
                "on_episode_end",
                callbacks_objects=self._callbacks,
                callbacks_functions=self.config.callbacks_on_episode_end,
                kwargs={
                    "episode": segment,
                    "env_runner": self,
                    "metrics_logger": self.metrics,
                    "env": self._lanes,
                    "rl_module": self.module,
                    "env_index": segment.lane,
                    "prev_episode_chunks": earlier,
                },
            )
            self._done_episodes_for_metrics.append(segment)
        else:
            earlier.append(Part(segment.id_, len(segment), segment.gain, segment.seconds))
        self._increase_sampled_metrics(len(segment), int(segment.is_done))
