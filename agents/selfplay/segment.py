"""What self-play records, and what a family provides to play and to learn from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import uuid4

import gymnasium as gym
import numpy as np
from torch import Tensor

from ...core.errors import SettingError
from ...core.lookup import resolve
from ..recipe import load_recipe

Moments = TypeVar("Moments")
NetworkIn = TypeVar("NetworkIn", contravariant=True)
Network = TypeVar("Network")


@dataclass(slots=True)
class Segment(Generic[Moments]):
    """An episode, or a part of one that begins where the part before was cut.

    A moment is a step at which the policy has a choice; T of them are recorded. Steps at which only
    one action is legal teach a policy nothing, so they count as the world's: what they earn belongs
    to the moment before. It answers to what RLlib asks of its episodes.

    Attributes:
        moments: what the family's network sees at the T moments.
        actions: int64 [T]; the actions, as positions in the rows of the family's logits.
        log_probabilities: float32 [T]; of the actions, by the policy that chose them.
        values: float32 [T + 1]; what the policy expected at the moments and, at last, where the
            segment was cut; 0 there if the episode ended.
        rewards: float64 [T]; sums of the rewards from each moment up to the next.
        steps: int64 [T]; environment steps from each moment up to the next.
        lane: where it was played.
        instance: position of the instance among those played.
        env_steps_made: environment steps of the segment, those before its first moment included.
        gain: sum of all its rewards.
        seconds: how long it took.
        objective: `info["objective"]` at the end; None where the segment was cut.
        id_: the same for all segments of an episode.
    """

    moments: Moments
    actions: np.ndarray
    log_probabilities: np.ndarray
    values: np.ndarray
    rewards: np.ndarray
    steps: np.ndarray
    lane: int
    instance: int
    env_steps_made: int
    gain: float
    seconds: float
    objective: float | None
    id_: str = field(default_factory=lambda: uuid4().hex)

    def __len__(self) -> int:
        return self.env_steps_made

    @property
    def is_done(self) -> bool:
        """Whether the episode ended."""
        return self.objective is not None

    def env_steps(self) -> int:
        """Return the environment steps; see RLlib's episodes."""
        return self.env_steps_made

    def agent_steps(self) -> int:
        """Return the environment steps; see RLlib's episodes."""
        return self.env_steps_made

    def get_return(self) -> float:
        """Return the sum of the rewards; see RLlib's episodes."""
        return self.gain

    def get_duration_s(self) -> float:
        """Return how long it took; see RLlib's episodes."""
        return self.seconds

    def get_infos(self, at: int) -> Mapping[str, Any]:
        """Return the objective, as the environment's last infos hold it; see RLlib's episodes."""
        return {} if self.objective is None else {"objective": self.objective}

    def advantages(self, discount: float, lambda_: float) -> np.ndarray:
        """Estimate by how much each action was better than expected: GAE (Schulman et al. 2016,
        equation 16), where a step leads from a moment to the next.

        Args:
            discount: of a reward for each environment step until it.
            lambda_: weight of what comes after each further moment.

        Returns:
            float64 [T].
        """
        factors = discount**self.steps
        errors: np.ndarray = self.rewards + factors * self.values[1:] - self.values[:-1]
        for t in range(len(errors) - 2, -1, -1):
            errors[t] += factors[t] * lambda_ * errors[t + 1]
        return errors


class Order(NamedTuple):
    """What is to be played.

    Attributes:
        steps: environment steps to make, at least; 0 where episodes are asked for.
        episodes: episodes to end, at least; 0 where steps are asked for.
        greedy: whether the likeliest actions are taken; else they are drawn.
        discount: of the rewards between two moments.
        draw: () -> position of the instance that is played next.
        rng: source of the actions.
    """

    steps: int
    episodes: int
    greedy: bool
    discount: float
    draw: Callable[[], int]
    rng: np.random.Generator


class Player(Protocol[NetworkIn, Moments]):
    """Plays a family's instances in compiled code, by a network's present weights.

    Attributes:
        games: episodes that have begun and not ended; to be pickled into checkpoints.
    """

    games: Any

    def play(self, network: NetworkIn, order: Order) -> list[Segment[Moments]]:
        """Play and return what was recorded, in the order of play."""
        ...


class Judged(NamedTuple):
    """What a network says of T moments.

    Attributes:
        logits: float32 [T, A]; of the actions, MASKED where there is none.
        values: float32 [T].
    """

    logits: Tensor
    values: Tensor


class Minibatch(NamedTuple):
    """Moments that one gradient step learns from.

    Attributes:
        moments: tuple of tensors of T moments, as `SelfPlay.judge` takes it.
        rows: int64 [T]; their positions among all moments of the segments.
    """

    moments: Any
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class SelfPlay(Generic[Network, Moments]):
    """A family's part of compiled self-play; a recipe names it by `Recipe.self_play`.

    Attributes:
        unserved: environment -> what of it cannot be played compiled; "" if all can.
        player: (instances, keyword arguments of the environment, lanes) -> the player.
        minibatches: (moments of segments, size of a minibatch, rng) -> one pass over all moments.
        judge: (network, moments of a minibatch) -> what the network says of them.
        recorded: moments of a minibatch -> logits, float32 [T, A], of the policy that played.
    """

    unserved: Callable[[gym.Env[Any, Any]], str]
    player: Callable[[Sequence[Any], Mapping[str, Any], int], Player[Network, Moments]]
    minibatches: Callable[[Sequence[Moments], int, np.random.Generator], Iterator[Minibatch]]
    judge: Callable[[Network, Any], Judged]
    recorded: Callable[[Any], Tensor]


def self_play_of(network: Mapping[str, Any]) -> SelfPlay[Any, Any] | None:
    """Return the self-play of a network's recipe; None if it has none.

    Args:
        network: description of the network, see rl_module.NetworkModule.

    Raises:
        SettingError: what the recipe names is none.
    """
    entry = load_recipe(network["family"], network.get("recipe", "")).self_play
    found = resolve(entry) if entry else None
    if found is not None and not isinstance(found, SelfPlay):
        raise SettingError(f"recipe: self_play {entry} is no sysopt_gym.agents.selfplay.SelfPlay")
    return found
