"""Which episodes of training were successes, by what has been reached on the same instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .base import Outcome

FIRST_PLAYS = 4
WAY = 0.8  # of the way from the first plays to the best one that a success comes


@dataclass
class Plays:
    """The last episodes of each of n instances, and which of them succeeded.

    An episode succeeds if it comes at least WAY of the way from the instance's first plays (the
    mean of FIRST_PLAYS) to the best that training has reached on it so far. So a success needs no
    solver's figure, and an instance on which all episodes are the same is solved.

    Attributes:
        count: n.
        memory: episodes kept of each instance.
        merits: float64 [n, memory], newest last; NaN where there are none yet.
        iterations: int64 [n, memory]; the iteration that each ended in, -1 where there is none.
        played: int64 [n]; episodes so far.
        first: float64 [n]; mean of the first ones.
        best: float64 [n]; the best so far.
    """

    count: int
    memory: int
    merits: np.ndarray = field(init=False)
    iterations: np.ndarray = field(init=False)
    played: np.ndarray = field(init=False)
    first: np.ndarray = field(init=False)
    best: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.merits = np.full((self.count, self.memory), np.nan)
        self.iterations = np.full((self.count, self.memory), -1)
        self.played = np.zeros(self.count, np.int64)
        self.first = np.zeros(self.count)
        self.best = np.full(self.count, -np.inf)

    def add(self, outcomes: Sequence[Outcome], iteration: int) -> None:
        """Take in episodes.

        Args:
            outcomes: the episodes.
            iteration: the iteration that they ended in.
        """
        for one in outcomes:
            row, merit = one.row, one.merit
            self.merits[row] = np.append(self.merits[row, 1:], merit)
            self.iterations[row] = np.append(self.iterations[row, 1:], iteration)
            if self.played[row] < FIRST_PLAYS:
                self.first[row] += (merit - self.first[row]) / (self.played[row] + 1)
            self.played[row] += 1
            self.best[row] = max(self.best[row], merit)

    def succeeded(self) -> np.ndarray:
        """Return which of the kept episodes were successes, float64 [n, memory]: 1, 0, NaN where
        there is none.
        """
        # From the best down: in this form rounding cannot lift it above the best.
        least = self.best - (1.0 - WAY) * np.maximum(self.best - self.first, 0.0)
        return np.where(np.isnan(self.merits), np.nan, self.merits >= least[:, None])

    def rates(self) -> np.ndarray:
        """Return the share of successes among the kept episodes, float64 [n]; NaN without any."""
        known = np.isfinite(self.merits).sum(axis=1)
        wins = np.nansum(self.succeeded(), axis=1)
        return np.where(known > 0, wins / np.maximum(known, 1), np.nan)
