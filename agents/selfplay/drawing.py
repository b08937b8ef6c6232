"""Draw an action by its logits, in compiled play."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def draw(logits: np.ndarray, greedy: bool, rng: np.random.Generator) -> tuple[int, float]:
    """Draw from softmax(logits).

    Args:
        logits: float32 [n]; of the actions.
        greedy: whether the likeliest is taken instead.
        rng: source of the draw.

    Returns:
        The action, and the logarithm of its probability.
    """
    likeliest = int(logits.argmax())
    weights = np.exp(logits.astype(np.float64) - logits[likeliest])
    whole, taken = weights.sum(), likeliest
    if not greedy:
        left = rng.random() * whole
        for action in range(len(weights)):
            left -= weights[action]
            if left < 0.0:
                taken = action
                break
    return taken, float(logits[taken]) - float(logits[likeliest]) - np.log(whole)
