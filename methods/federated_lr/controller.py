"""What the controllers share: the terms they are given and the rates they hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms

# FedHyper's limits: the factors by which alpha and beta may leave their initial values.
GAMMA_ALPHA, GAMMA_BETA = 3.0, 10.0


class Controller(ABC):
    """A policy that holds two rates; each kind says in `act` what becomes of them.

    It keeps the rates it means, not those of `info`, which are rounded to their codes: a
    multiplicative rule would gather the rounding.

    Attributes:
        terms: of the federation in play.
        alpha, beta: present rates of the server and of the clients.
    """

    terms: Terms
    alpha: float
    beta: float

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Takes up the initial rates; what a controller computes is no matter of seconds."""
        self.terms, self.alpha, self.beta = terms, terms.alpha, terms.beta

    @abstractmethod
    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """The order int64 [5] of this step, from `info` alone; `observation` is for agents."""


def clip(rate: float, low: float, high: float) -> float:
    """The rate drawn into [low, high]."""
    return min(max(rate, low), high)
