"""What every curriculum is: weights over instances, learned from the episodes played on them.

RLlib's side is in rllib.py. All that reaches a curriculum are episodes of training on training
instances; figures of validation and what solvers or oracles know do not.
"""

from __future__ import annotations

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ...core.instance import Instance


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a stage of training plays.

    Attributes:
        instances: the n instances, in the environments' order.
        sets: int64 [n]; number of the instance set that each came from, from 0 on.
        iterations: iterations of the stage.
        seed: seed of what a curriculum draws itself.
    """

    instances: Sequence[Instance]
    sets: np.ndarray
    iterations: int
    seed: int

    def __len__(self) -> int:
        return len(self.instances)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished episode of training.

    Attributes:
        row: index of its instance.
        gain: its return, the sum of its rewards.
        objective: the environment's objective at its end, negative where less of it is better, so
            that more is better always; NaN if the environment has none.
        steps: its steps.
        advantage: mean over its steps of the absolute advantage, as the learner weighs it; NaN if
            the curriculum did not ask for it.
    """

    row: int
    gain: float
    objective: float
    steps: int
    advantage: float = math.nan

    @property
    def merit(self) -> float:
        """How good it was, more is better: the objective, or the return where there is none."""
        return self.gain if math.isnan(self.objective) else self.objective


@dataclass(frozen=True, slots=True)
class Shares:
    """Which part of a batch is learned from; see `Curriculum.shares`.

    Attributes:
        rollouts: share of the batch's rollouts, 0 to 1: those whose advantages vary most.
        steps: share of the steps of these, 0 to 1: those of the greatest `|advantage| x entropy`.
    """

    rollouts: float
    steps: float


@dataclass
class Curriculum(ABC):
    """Base of all curricula.

    A subclass is a dataclass whose further fields, all with defaults, are its options in a training
    configuration. It makes its state in `begin`, as plain attributes.
    """

    training: TrainingSet
    uses_advantages: ClassVar[bool] = False
    """Whether the learner must tell advantages, which PPO's does."""
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Least and greatest value of each option."""

    def __post_init__(self) -> None:
        self.iteration = 0
        self.rng = np.random.default_rng([self.training.seed, len(self.training)])
        self.begin()

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Return the options with their defaults."""
        return {part.name: part.default for part in fields(cls) if part.default is not MISSING}

    @abstractmethod
    def begin(self) -> None:
        """Make the state in which nothing has been played."""

    @abstractmethod
    def weights(self) -> np.ndarray:
        """Return how likely each instance is to be played next, float64 [n]; they sum to 1."""

    @abstractmethod
    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Take in the episodes of an iteration; see `learn`."""

    def shares(self) -> Shares | None:
        """Return which part of the next batch is learned from; None for all of it."""
        return None

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Learn from an iteration of training.

        Args:
            outcomes: the episodes that ended in it, in the order in which they did; those begun
                under earlier weights are among them. There may be none.
        """
        self.iteration += 1
        self.hear(outcomes)

    def state(self) -> bytes:
        """Return all that the choices to come depend on, beside the training set."""
        kept = {name: part for name, part in vars(self).items() if name != "training"}
        return pickle.dumps(kept)

    def restore(self, state: bytes) -> None:
        """Go on where a curriculum of the same training set and options was.

        Args:
            state: what its `state` returned.
        """
        vars(self).update(pickle.loads(state))


def uniform(count: int) -> np.ndarray:
    """Return equal weights, float64 [count], that sum to 1.

    Args:
        count: how many.
    """
    return np.full(count, 1.0 / count)


def mixed(weights: np.ndarray, floor: float) -> np.ndarray:
    """Return weights with a share that goes to all alike, float64 [n].

    Args:
        weights: float64 [n], at least 0; all 0 stands for all alike.
        floor: that share, 0 to 1.
    """
    alike = uniform(len(weights))
    total = weights.sum()
    return floor * alike + (1.0 - floor) * (weights / total if total > 0 else alike)


def towards(played: np.ndarray, wanted: int) -> np.ndarray:
    """Return weights under which all instances are soon played often enough, float64 [n]: half of
    the draws go to all alike, half to those that lack episodes, in proportion to how many.

    Args:
        played: int64 [n]; episodes so far.
        wanted: how many are to be played of each.
    """
    return mixed(np.maximum(wanted - played, 0).astype(np.float64), 0.5)
