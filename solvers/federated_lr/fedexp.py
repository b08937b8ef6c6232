"""FedExP: a server rate from the disagreement of the participants.

After Jhunjhunwala et al. 2023 (arXiv 2301.09604).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...envs.federated_lr.orders import order
from ...methods.federated_lr.controller import Controller

EPSILON = 1e-3  # the paper's for all but one of its data sets


class FedExP(Controller):
    """Set the server rate of every update by FedExP's rule.

    The rate is mean ||Delta_m||^2 / (2 (||Delta||^2 + epsilon)), at least 1. The initial server
    rate is not used. The mean is over the participants of the round; FedHyper's code divides by 10
    whatever their number, and leaves epsilon out.

    Args:
        epsilon: added to the squared norm of the update.
    """

    def __init__(self, epsilon: float = EPSILON) -> None:
        self.epsilon = epsilon

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Set the server rate for the round's update; see Controller.act."""
        square = info["update_norm"] * info["update_norm"]  # ** would raise where this is inf
        self.alpha = max(1.0, info["mean_square_norm"] / (2.0 * (square + self.epsilon)))
        return order(self.alpha, self.beta)
