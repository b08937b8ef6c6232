"""DUMP: a bandit over instance sets (Wang et al. 2025, arXiv 2504.09710)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.errors import SettingError
from .base import Curriculum, Outcome


@dataclass
class Dump(Curriculum):
    """Draws an instance set by an upper confidence bound of what can still be learned on it.

    Of set d, with n_d episodes so far of n in all and L_d the mean |advantage| over the last
    `window` of them, UCB_d = L_d + sqrt(2 ln(n + 1) / (n_d + 1)). Sets are drawn with probability
    softmax(UCB / temperature), the instances of a set alike.

    Attributes:
        window: episodes of a set that its mean is over.
        temperature: of the softmax.
    """

    window: int = 300
    temperature: float = 0.1
    uses_advantages: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "window": (1, 10**6), "temperature": (1e-3, 1e3),
    }  # fmt: skip

    def begin(self) -> None:
        """See the base class.

        Raises:
            SettingError: there is one instance set only.
        """
        self.sizes = np.bincount(self.training.sets)
        if len(self.sizes) < 2:
            raise SettingError(
                "dump chooses among instance sets, and there is one: give several under instances, "
                "or take another curriculum"
            )
        self.recent: list[deque[float]] = [deque(maxlen=self.window) for _ in self.sizes]
        self.played = np.zeros(len(self.sizes))

    def weights(self) -> np.ndarray:
        """See the base class."""
        learned = np.array([np.mean(one) if one else 0.0 for one in self.recent])
        bonus = np.sqrt(2.0 * np.log(self.played.sum() + 1.0) / (self.played + 1.0))
        bound = (learned + bonus) / self.temperature
        odds = np.exp(bound - bound.max())
        weights: np.ndarray = (odds / odds.sum() / self.sizes)[self.training.sets]
        return weights

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """See the base class."""
        for outcome in outcomes:
            if np.isfinite(outcome.advantage):
                arm = self.training.sets[outcome.row]
                self.recent[arm].append(outcome.advantage)
                self.played[arm] += 1
