"""Designs valued by another figure than the mean of an ensemble's predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...envs.sequence_design.proxy import Ensemble

Valuation = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Valued:
    """A Predictor for the pool that values designs by mean and spread.

    Attributes:
        proxy: gives means and spreads, in scaled scores.
        value: of means and spreads, float64 [n] each, the values float64 [n].
    """

    proxy: Ensemble
    value: Valuation

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values and spreads, float64 [n] each, for tokens int8 [n, L]."""
        mean, spread = self.proxy.predict(tokens)
        return self.value(mean, spread), spread
