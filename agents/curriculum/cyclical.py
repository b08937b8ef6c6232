"""Cyclical Curriculum Learning (Kesgin and Amasyali 2023, arXiv 2202.05531)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Curriculum, Outcome, towards, uniform


@dataclass
class Cyclical(Curriculum):
    """Plays a set of instances that grows to all and shrinks again, over and over, easy ones first.

    The set's size goes from `smallest` by a factor 1 / `factor` an iteration up to all instances
    and back. It is drawn anew in each iteration, without replacement, by fixed scores 1 / loss. The
    loss of an instance is 1 + the standardized shortfall of the mean of its first `warm_up`
    episodes from the best such mean; until there are as many of each, none is left out (see
    base.towards). (The paper's losses are those of a model trained before.)

    Attributes:
        smallest: size of the smallest set, as a share of all instances.
        factor: of two sizes that follow each other.
        warm_up: episodes of each instance that its score is from.
    """

    smallest: float = 0.25
    factor: float = 0.5
    warm_up: int = 2
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "smallest": (0.001, 1.0), "factor": (0.01, 0.99), "warm_up": (1, 10**4),
    }  # fmt: skip

    def begin(self) -> None:
        """See the base class."""
        count = len(self.training)
        self.sums, self.played = np.zeros(count), np.zeros(count, np.int64)
        self.size, self.growing = self.smallest, True
        self.chosen = uniform(count)

    def weights(self) -> np.ndarray:
        """See the base class."""
        return self.chosen

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """See the base class."""
        for outcome in outcomes:
            if self.played[outcome.row] < self.warm_up:
                self.sums[outcome.row] += outcome.merit
                self.played[outcome.row] += 1
        if (self.played < self.warm_up).any():
            self.chosen = towards(self.played, self.warm_up)
            return
        scores = self._scores()
        count = max(int(self.size * len(scores)), 1)
        rows = self.rng.choice(len(scores), count, replace=False, p=scores / scores.sum())
        self.chosen = np.zeros(len(scores))
        self.chosen[rows] = 1.0 / count
        self._turn()

    def _scores(self) -> np.ndarray:
        """Return 1 / loss of each instance, float64 [n]."""
        means = self.sums / self.played
        spread = means.std()
        short = (means.max() - means) / spread if spread > 0 else np.zeros(len(means))
        scores: np.ndarray = 1.0 / (1.0 + short)
        return scores

    def _turn(self) -> None:
        """Go on to the next size of the cycle."""
        self.size = min(self.size / self.factor, 1.0) if self.growing else self.size * self.factor
        if self.size >= 1.0:
            self.growing = False
        elif self.size <= self.smallest:
            self.size, self.growing = self.smallest, True
