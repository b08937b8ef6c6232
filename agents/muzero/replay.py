"""Prioritized replay of self-play, and the targets MuZero learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers import PrioritizedEpisodeReplayBuffer

POLICY, VALUE = "search_policy", "search_value"  # of every step, as the search found them


@dataclass(frozen=True, slots=True)
class Place:
    """A step of an episode in the buffer.

    Attributes:
        episode: the episode.
        t: the step.
        weight: weight of what is learned from it.
    """

    episode: SingleAgentEpisode
    t: int
    weight: float


class SelfPlayBuffer(PrioritizedEpisodeReplayBuffer):
    """RLlib's buffer, which keeps whole episodes with a priority for every step. It samples places
    instead of steps, so that targets can look ahead in their episodes.
    """

    def __init__(self, *, seed: int | None = None, beta: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.beta = beta
        self.rng = np.random.default_rng(seed)

    def draw(self, count: int) -> list[Place]:
        """Sample places in proportion to their priorities; `update_priorities` then takes new
        priorities for them.

        Args:
            count: how many.
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
        """Sample places with equal chances, to be searched anew."""
        return [self._place(int(i), 1.0) for i in self.rng.integers(len(self._indices), size=count)]

    def _place(self, sample: int, weight: float) -> Place:
        number, t = self._indices[sample][:2]
        return Place(self.episodes[number - self._num_episodes_evicted], t, weight)

    def get_state(self) -> dict[str, Any]:
        """Return RLlib's state and the random generator's."""
        state: dict[str, Any] = super().get_state()
        return state | {"rng": self.rng.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self.episodes.clear()
        super().set_state(state)
        self.rng.bit_generator.state = state["rng"]


def rewrite(place: Place, policy: np.ndarray, value: float) -> None:
    """Replace the findings of an older search (reanalyze).

    Args:
        place: where they stand.
        policy: float32 [A], the improved policy.
        value: value of the root.
    """
    for key, data in ((POLICY, policy), (VALUE, value)):
        place.episode.set_extra_model_outputs(key=key, new_data=data, at_indices=place.t)


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """How targets are made.

    Attributes:
        unroll_steps: steps K that the dynamics are unrolled for.
        n_step: rewards before a search's value stands in for the rest; None for full returns.
        discount: discount of the environment.
    """

    unroll_steps: int
    n_step: int | None
    discount: float


def targets(place: Place, settings: TargetSettings) -> dict[str, np.ndarray]:
    """Return what is learned from a place: the K steps from it, and what they should predict.

    Past a terminal state value and reward are 0 and any action may be taken; past the end of what
    is known of an unfinished or truncated episode nothing is learned.

    Args:
        place: the first step.
        settings: how targets are made.

    Returns:
        actions int64 [K], rewards float32 [K], reward_mask float32 [K]; policies float32 [K+1, A],
        values float32 [K+1] and their masks float32 [K+1].
    """
    episode, k = place.episode, settings.unroll_steps
    rewards = np.asarray(episode.get_rewards(), np.float64)
    actions = np.asarray(episode.get_actions())
    policies = np.asarray(episode.get_extra_model_outputs(POLICY))
    found = np.asarray(episode.get_extra_model_outputs(VALUE), np.float64)
    length = len(rewards)
    known = min(k, length - place.t)
    ended = float(episode.is_terminated)
    item: dict[str, np.ndarray] = {
        "actions": np.zeros(k, np.int64),
        "rewards": np.zeros(k, np.float32),
        "reward_mask": np.full(k, ended, np.float32),
        "policies": np.zeros((k + 1, policies.shape[1]), np.float32),
        "policy_mask": np.zeros(k + 1, np.float32),
        "values": np.zeros(k + 1, np.float32),
        "value_mask": np.full(k + 1, ended, np.float32),
    }
    last = min(place.t + k + 1, length)
    item["actions"][:known] = actions[place.t : place.t + known]
    item["rewards"][:known] = rewards[place.t : place.t + known]
    item["reward_mask"][:known] = 1.0
    item["policies"][: last - place.t] = policies[place.t : last]
    item["policy_mask"][: last - place.t] = 1.0
    item["value_mask"][: last - place.t] = 1.0
    for t in range(place.t, last):
        item["values"][t - place.t] = _return(rewards, found, t, bool(ended), settings)
    return item


def _return(
    rewards: np.ndarray, found: np.ndarray, t: int, ended: bool, settings: TargetSettings
) -> float:
    """Sum the rewards of n steps and the search's value then, or the last value that is known."""
    length = len(rewards)
    until = length if settings.n_step is None else min(t + settings.n_step, length)
    if until == length and not ended:
        until = length - 1
    steps = until - t
    gain = float(rewards[t:until] @ settings.discount ** np.arange(steps))
    return gain + (settings.discount**steps * found[until] if until < length else 0.0)


def batch_of(places: list[Place], settings: TargetSettings) -> dict[str, Any]:
    """Return observations and targets of places, stacked.

    Args:
        places: B places.
        settings: how targets are made.

    Returns:
        The arrays of `targets` with a first axis B, "obs", and "weights", float32 [B].
    """
    items = [targets(place, settings) for place in places]
    batch: dict[str, Any] = {key: np.stack([item[key] for item in items]) for key in items[0]}
    batch["obs"] = stacked([place.episode.get_observations(place.t) for place in places])
    batch["weights"] = np.array([place.weight for place in places], np.float32)
    return batch


def stacked(observations: list[Any]) -> Any:
    """Stack observations to a batch of arrays."""
    if isinstance(observations[0], dict):
        return {key: stacked([one[key] for one in observations]) for key in observations[0]}
    return np.stack([np.asarray(one) for one in observations])
