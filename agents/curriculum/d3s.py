"""D3S: down-sampling a batch to what tells most (arXiv 2509.22115)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Curriculum, Outcome, Shares, uniform


@dataclass
class Downsampling(Curriculum):
    """Plays all instances alike, and learns from a part of every batch.

    Of the batch's rollouts those are kept whose mean advantages vary most, of their steps those
    with the greatest |advantage| x entropy of the policy; they stand in the batch as often as makes
    up its size, so that there are as many gradient steps. Both shares go linearly from the first to
    the last value over the stage, so that little is kept at first. The paper's values were not to
    be had; these are ours.

    Attributes:
        first_rollouts: share of the rollouts at first.
        last_rollouts: in the end.
        first_steps: share of their steps at first.
        last_steps: in the end.
    """

    first_rollouts: float = 0.5
    last_rollouts: float = 1.0
    first_steps: float = 0.5
    last_steps: float = 1.0
    uses_advantages: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "first_rollouts": (0.0, 1.0), "last_rollouts": (0.0, 1.0),
        "first_steps": (0.0, 1.0), "last_steps": (0.0, 1.0),
    }  # fmt: skip

    def begin(self) -> None:
        """There is no state beside the iteration."""

    def weights(self) -> np.ndarray:
        """See the base class."""
        return uniform(len(self.training))

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is learned: each batch is judged by itself."""

    def shares(self) -> Shares:
        """See the base class."""
        done = min(self.iteration / max(self.training.iterations - 1, 1), 1.0)
        return Shares(
            self.first_rollouts + done * (self.last_rollouts - self.first_rollouts),
            self.first_steps + done * (self.last_steps - self.first_steps),
        )


def rollouts_kept(advantages: np.ndarray, count: int) -> np.ndarray:
    """Choose the rollouts whose advantages have the greatest variance.

    The best choice is the k least and the others the greatest, for some k.

    Args:
        advantages: float64 [R], of each rollout.
        count: how many are kept, 1 to R.

    Returns:
        bool [R], with `count` true.
    """
    order = np.argsort(advantages, kind="stable")
    choices = [np.r_[order[:k], order[len(order) - count + k :]] for k in range(count + 1)]
    kept = np.zeros(len(advantages), np.bool_)
    kept[max(choices, key=lambda rows: float(np.var(advantages[rows])))] = True
    return kept


def steps_kept(
    advantages: np.ndarray, entropies: np.ndarray, rollouts: np.ndarray, shares: Shares
) -> np.ndarray:
    """Choose the steps that a batch is learned from.

    Args:
        advantages: float64 [T], of the batch's steps.
        entropies: float64 [T], of the policy at them.
        rollouts: int64 [T]; number of the rollout that each belongs to, 0 to R - 1, each there.
        shares: how much is kept; at least one rollout and one step always are.

    Returns:
        bool [T].
    """
    lengths = np.bincount(rollouts)
    means = np.bincount(rollouts, weights=advantages) / lengths
    count = max(round(shares.rollouts * len(lengths)), 1)
    inside = np.flatnonzero(rollouts_kept(means, count)[rollouts])
    tells = np.abs(advantages[inside]) * entropies[inside]
    most = np.argsort(-tells, kind="stable")[: max(round(shares.steps * len(inside)), 1)]
    kept = np.zeros(len(advantages), np.bool_)
    kept[inside[most]] = True
    return kept
