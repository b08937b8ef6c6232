"""Prioritized replay of self-play, and the targets that MuZero learns from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers import PrioritizedEpisodeReplayBuffer

from .games import Game, Pool, observations


@dataclass(frozen=True, slots=True)
class Place:
    """A step of an episode in the buffer.

    Attributes:
        episode: the episode.
        t: index of the step.
        weight: weight of the step in the loss, which corrects for its priority.
    """

    episode: Game
    t: int
    weight: float


class SelfPlayBuffer(PrioritizedEpisodeReplayBuffer):
    """RLlib's buffer of whole episodes with a priority for every step; they are kept as games.

    It samples places instead of fixed-size sequences, so that targets can look ahead in their
    episodes.
    """

    def __init__(self, *, seed: int | None = None, beta: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.beta = beta
        self.rng = np.random.default_rng(seed)
        self._pool: Pool = WeakValueDictionary()

    def add(self, episodes: Iterable[SingleAgentEpisode], weight: float | None = None) -> None:
        """Take in episodes, or the next parts of episodes.

        Args:
            episodes: those without a step are passed over.
            weight: see the base class.
        """
        super().add([Game.of(one, self._pool) for one in episodes if len(one)], weight)

    def draw(self, count: int) -> list[Place]:
        """Sample steps in proportion to their priorities; `update_priorities` takes new ones for
        them.
        """
        total = self._sum_segment.sum()
        least = self._min_segment.min() / total
        self._last_sampled_indices = []
        places = []
        for mass in self.rng.random(count) * total:
            index = self._sum_segment.find_prefixsum_idx(min(mass, total * (1 - 1e-9)))
            weight = (self._sum_segment[index] / total / least) ** -self.beta
            places.append(self._place(self._tree_idx_to_sample_idx[index], float(weight)))
            self._last_sampled_indices.append(index)
        self.sampled_timesteps += count
        return places

    def draw_evenly(self, count: int) -> list[Place]:
        """Sample steps with equal probability, with weight 1, to be searched anew."""
        return [self._place(int(i), 1.0) for i in self.rng.integers(len(self._indices), size=count)]

    def _place(self, sample: int, weight: float) -> Place:
        number, t = self._indices[sample][:2]
        return Place(self.episodes[number - self._num_episodes_evicted], t, weight)

    def get_state(self) -> dict[str, Any]:
        """See the base class; the generator's state is part of it."""
        state: dict[str, Any] = super().get_state()
        return state | {"rng": self.rng.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of `get_state`."""
        super().set_state(state)
        self.rng.bit_generator.state = state["rng"]

    def _set_episodes(self, state: dict[str, Any]) -> None:
        self.episodes = deque(state["episodes"])
        for game in self.episodes:
            game.share(self._pool)


def rewrite(place: Place, policy: np.ndarray, value: float) -> None:
    """Replace a step's search results by those of a newer search (MuZero, appendix H, reanalyze).

    Args:
        place: the step.
        policy: float32 [A]; the improved policy.
        value: the root's value.
    """
    place.episode.policies.replace(place.t, policy)
    place.episode.values[place.t] = value


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Settings of the targets.

    Attributes:
        unroll_steps: actions K that the dynamics are unrolled for.
        n_step: rewards before a search's value stands for the rest; None for full returns.
        discount: discount of the environment.
    """

    unroll_steps: int
    n_step: int | None
    discount: float


def targets(place: Place, settings: TargetSettings) -> dict[str, np.ndarray]:
    """Make the targets of a step and of the K steps after it (MuZero, appendix G).

    After a terminal state, values and rewards are 0 and policies are not learned. After the last
    known step of an unfinished or truncated episode, all masks are 0.

    Args:
        place: the step.
        settings: settings of the targets.

    Returns:
        "actions" int64 [K], "rewards" and "reward_mask" float32 [K], "policies" float32 [K+1, A],
        "policy_mask", "values" and "value_mask" float32 [K+1].
    """
    episode, k = place.episode, settings.unroll_steps
    rewards, found = (np.asarray(a, np.float64) for a in (episode.rewards, episode.values))
    length = len(rewards)
    known = min(k, length - place.t)
    ended = float(episode.is_terminated)
    item: dict[str, np.ndarray] = {
        "actions": np.zeros(k, np.int64),
        "rewards": np.zeros(k, np.float32),
        "reward_mask": np.full(k, ended, np.float32),
        "policies": np.zeros((k + 1, episode.policies.n), np.float32),
        "policy_mask": np.zeros(k + 1, np.float32),
        "values": np.zeros(k + 1, np.float32),
        "value_mask": np.full(k + 1, ended, np.float32),
    }
    last = min(place.t + k + 1, length)
    item["actions"][:known] = episode.actions[place.t : place.t + known]
    item["rewards"][:known] = rewards[place.t : place.t + known]
    item["reward_mask"][:known] = 1.0
    item["policies"][: last - place.t] = episode.policies.rows(place.t, last)
    item["policy_mask"][: last - place.t] = 1.0
    item["value_mask"][: last - place.t] = 1.0
    for t in range(place.t, last):
        item["values"][t - place.t] = _return(rewards, found, t, bool(ended), settings)
    return item


def _return(
    rewards: np.ndarray, found: np.ndarray, t: int, ended: bool, settings: TargetSettings
) -> float:
    """Sum n discounted rewards from step t, then add the search's value.

    In an unfinished episode, the last step's value stands for the rewards after it.

    Args:
        rewards: float64 [T]; rewards of the episode.
        found: float64 [T]; values of the searches.
        t: index of the step.
        ended: whether the episode ended in a terminal state.
        settings: settings of the targets.
    """
    length = len(rewards)
    until = length if settings.n_step is None else min(t + settings.n_step, length)
    if until == length and not ended:
        until = length - 1
    steps = until - t
    gain = float(rewards[t:until] @ settings.discount ** np.arange(steps))
    return gain + (settings.discount**steps * found[until] if until < length else 0.0)


def return_from(place: Place, discount: float) -> float:
    """Sum the discounted rewards from a step to the last known one of its episode.

    Args:
        place: the step.
        discount: discount of the environment.
    """
    rewards = np.asarray(place.episode.rewards, np.float64)[place.t :]
    return float(rewards @ discount ** np.arange(len(rewards)))


def batch_of(places: list[Place], settings: TargetSettings) -> dict[str, Any]:
    """Make a batch of the observations and targets of B steps.

    Args:
        places: the B steps.
        settings: settings of the targets.

    Returns:
        "obs": observations, [B, ...]; "weights": float32 [B]; and what `targets` returns, stacked.
    """
    items = [targets(place, settings) for place in places]
    batch: dict[str, Any] = {key: np.stack([item[key] for item in items]) for key in items[0]}
    batch["obs"] = observations([(place.episode, place.t) for place in places])
    batch["weights"] = np.array([place.weight for place in places], np.float32)
    return batch
