"""Adam, and the Adaptive-eta step sizes of BIB, for solvers that follow a gradient.

Adam is that of Kingma & Ba 2015 (arXiv 1412.6980, algorithm 1), Adaptive-eta that of Chen et al.
2023 (arXiv 2301.02931, section 4.3).
"""

from __future__ import annotations

import numpy as np

from ...envs.sequence_design.proxy.trainer import BETA1, BETA2, EPSILON

RATE = 0.1  # step size on the logits
RATE_GAIN, RATE_RANGE = 0.01, (1e-4, 0.5)  # Adaptive-eta's; see adaptive_rates


class Adam:
    """Adam's moments for an array of any shape.

    The proxy's trainer has a compiled update of its own, which folds bias correction and learning
    rate into one factor; in float32 the two round differently, and designs would change.

    Attributes:
        step: gradients seen.
        mean, square: moving averages of the gradient and of its square, in the gradient's shape.
    """

    def __init__(self) -> None:
        self.step = 0
        self.mean: np.ndarray | float = 0.0
        self.square: np.ndarray | float = 0.0

    def direction(self, slope: np.ndarray) -> np.ndarray:
        """Update the moments with a gradient and return the step direction, in its shape.

        The direction is the bias-corrected mean over the root of the bias-corrected square; the
        caller multiplies it by the step size and chooses the sign.
        """
        self.step += 1
        self.mean = BETA1 * self.mean + (1 - BETA1) * slope
        self.square = BETA2 * self.square + (1 - BETA2) * slope**2
        mean = self.mean / (1 - BETA1**self.step)
        square = self.square / (1 - BETA2**self.step)
        direction: np.ndarray = mean / (np.sqrt(square) + EPSILON)
        return direction


def adaptive_rates(upward: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Set each candidate's step size by how much a step raises an auxiliary proxy (Adaptive-eta).

    Args:
        upward: float [n, L, V]; gradient of the auxiliary proxy by the logits.
        direction: float [n, L, V]; direction in which the logits are about to move.

    Returns:
        RATE + RATE_GAIN * <upward, direction>, clipped to RATE_RANGE, float [n, 1, 1].
    """
    along = (upward * direction).sum(axis=(1, 2), keepdims=True)
    rates: np.ndarray = np.clip(RATE + RATE_GAIN * along, *RATE_RANGE)
    return rates
