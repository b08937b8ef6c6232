"""Directions by Adam (Kingma & Ba 2015, arXiv 1412.6980), and BIB's step sizes for them:
Adaptive-eta (Chen et al. 2023, arXiv 2301.02931, section 4.3).
"""

from __future__ import annotations

import numpy as np

from ...envs.sequence_design.proxy.trainer import BETA1, BETA2, EPSILON

RATE = 0.1  # of logits
RATE_GAIN, RATE_RANGE = 0.01, (1e-4, 0.5)


class Adam:
    """Adam's direction for arrays of one shape, step after step.

    The proxy's trainer has a compiled update of its own, which folds bias correction and learning
    rate into one factor; in float32 the two round differently, and designs would change.
    """

    def __init__(self) -> None:
        self.step = 0
        self.mean: np.ndarray | float = 0.0
        self.square: np.ndarray | float = 0.0

    def direction(self, slope: np.ndarray) -> np.ndarray:
        """Return what to step along for a slope, float [..]; the learning rate is left out."""
        self.step += 1
        self.mean = BETA1 * self.mean + (1 - BETA1) * slope
        self.square = BETA2 * self.square + (1 - BETA2) * slope**2
        mean = self.mean / (1 - BETA1**self.step)
        square = self.square / (1 - BETA2**self.step)
        direction: np.ndarray = mean / (np.sqrt(square) + EPSILON)
        return direction


def adaptive_rates(upward: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Set each candidate's rate: the greater, the more a step gains by an auxiliary proxy.

    Args:
        upward: float [n, L, V]; gradient of the auxiliary proxy's value by the logits.
        direction: float [n, L, V]; what the logits are about to move along.

    Returns:
        float [n, 1, 1].
    """
    along = (upward * direction).sum(axis=(1, 2), keepdims=True)
    rates: np.ndarray = np.clip(RATE + RATE_GAIN * along, *RATE_RANGE)
    return rates
