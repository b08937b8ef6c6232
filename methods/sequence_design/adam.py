"""Adam (Kingma & Ba 2015, arXiv 1412.6980), and BIB's step sizes for it: Adaptive-eta (Chen et al.
2023, arXiv 2301.02931, section 4.3), which serves any method that follows a gradient.
"""

from __future__ import annotations

import numpy as np

RATE = 0.1  # of logits
RATE_GAIN, RATE_RANGE = 0.01, (1e-4, 0.5)
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam's direction for arrays of any shape."""

    def __init__(self) -> None:
        self.step = 0
        self.mean: np.ndarray | float = 0.0
        self.square: np.ndarray | float = 0.0

    def direction(self, slope: np.ndarray) -> np.ndarray:
        """What to step along, the rate left out."""
        self.step += 1
        self.mean = BETA1 * self.mean + (1 - BETA1) * slope
        self.square = BETA2 * self.square + (1 - BETA2) * slope**2
        mean = self.mean / (1 - BETA1**self.step)
        square = self.square / (1 - BETA2**self.step)
        direction: np.ndarray = mean / (np.sqrt(square) + EPSILON)
        return direction


def adaptive_rates(upward: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Each candidate's rate, [n, 1, 1]: the greater, the more a step gains by an auxiliary proxy.

    Args:
        upward: [n, L, V]; gradient of the auxiliary proxy's value by the logits.
        direction: [n, L, V]; what the logits are about to move along.
    """
    along = (upward * direction).sum(axis=(1, 2), keepdims=True)
    rates: np.ndarray = np.clip(RATE + RATE_GAIN * along, *RATE_RANGE)
    return rates
