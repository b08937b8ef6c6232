"""Prioritized Level Replay (Jiang et al. 2021, arXiv 2010.03934)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Curriculum, Outcome, uniform


@dataclass
class PrioritizedLevelReplay(Curriculum):
    """Replays instances on which the value was off most when they were last played.

    The score of an instance is the mean |advantage| of its last episode. Among the instances that
    have been played, P = (1 - staleness) x h + staleness x c, where h falls with the rank of the
    score, as (1 / rank) ^ (1 / beta), and c grows with the episodes since it was last played. An
    instance that was not played yet is drawn with the share that those have of all (the paper's
    proportionate schedule).

    Attributes:
        beta: temperature of the ranks; smaller prefers the first ones more.
        staleness: share of the draws by time since the last play.
    """

    beta: float = 0.3
    staleness: float = 0.3
    uses_advantages: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "beta": (1e-2, 1e3), "staleness": (0.0, 1.0),
    }  # fmt: skip

    def begin(self) -> None:
        """See the base class."""
        self.scores = np.full(len(self.training), np.nan)
        self.since = np.zeros(len(self.training))

    def weights(self) -> np.ndarray:
        """See the base class."""
        seen = np.isfinite(self.scores)
        if not seen.any():
            return uniform(len(seen))
        order = np.argsort(-self.scores[seen], kind="stable")
        ranks = np.empty(len(order))
        ranks[order] = np.arange(1, len(order) + 1)
        by_score = ranks ** (-1.0 / self.beta)
        replayed = (1.0 - self.staleness) * by_score / by_score.sum()
        stale = self.since[seen]
        alike = uniform(len(stale))
        replayed += self.staleness * (stale / stale.sum() if stale.any() else alike)
        weights = np.full(len(seen), 1.0 / len(seen))  # each unseen one, its share of all
        weights[seen] = seen.mean() * replayed
        return weights

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """See the base class."""
        for outcome in outcomes:
            self.since += 1
            self.since[outcome.row] = 0
            if np.isfinite(outcome.advantage):
                self.scores[outcome.row] = outcome.advantage
