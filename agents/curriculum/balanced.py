"""Balanced online difficulty filtering (Bae et al. 2025, arXiv 2504.03380)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Curriculum, Outcome, mixed
from .successes import Plays


@dataclass
class Balanced(Curriculum):
    """Plays instances of which some episodes succeed and some do not.

    How much a policy can improve on an instance is bounded below by a multiple of p (1 - p), p
    being its rate of success (see successes.Plays) over the last `rollouts` episodes. Instances
    with low <= p <= high are drawn alike; so are those of which half as many episodes are known. A
    share `floor` of the draws goes to all alike, so that rates that have changed are noticed.

    Attributes:
        low: least rate of success.
        high: greatest rate of success.
        rollouts: episodes that a rate is over.
        floor: share of the draws that all instances have alike.
    """

    low: float = 0.2
    high: float = 0.8
    rollouts: int = 8
    floor: float = 0.1
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "low": (0.0, 1.0), "high": (0.0, 1.0), "rollouts": (2, 10**4), "floor": (0.0, 1.0),
    }  # fmt: skip

    def begin(self) -> None:
        """See the base class."""
        self.plays = Plays(len(self.training), self.rollouts)

    def weights(self) -> np.ndarray:
        """See the base class."""
        rates = self.plays.rates()
        unknown = self.plays.played < self.rollouts / 2
        kept = unknown | ((rates >= self.low) & (rates <= self.high))
        return mixed(kept.astype(np.float64), self.floor)

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """See the base class."""
        self.plays.add(outcomes, self.iteration)
