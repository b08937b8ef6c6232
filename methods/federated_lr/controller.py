"""Base class of learning-rate controllers: policies that set rates of server and clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms

# FedHyper's limits: alpha within a factor GAMMA_ALPHA of 1, beta within GAMMA_BETA of its start.
GAMMA_ALPHA, GAMMA_BETA = 3.0, 10.0


class Controller(ABC):
    """A policy that keeps two rates; a subclass changes them in `act`.

    The rates kept are exact, not those of `info`, which are rounded to their codes: a
    multiplicative rule would accumulate the rounding.

    Attributes:
        terms: of the federation being trained.
        alpha: present rate of the server.
        beta: present rate of the clients.
    """

    terms: Terms
    alpha: float
    beta: float

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Start an episode at the initial rates.

        Args:
            terms: of the federation.
            budget: not used.
            seed: not used here; a random subclass draws from it.
        """
        self.terms, self.alpha, self.beta = terms, terms.alpha, terms.beta

    @abstractmethod
    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Return the next order, int64 [5]; see envs.federated_lr.orders for its columns.

        Args:
            observation: not used; it is for agents.
            info: statistics of the run as plain numbers; see envs.federated_lr.statistics.
        """


def clip(rate: float, low: float, high: float) -> float:
    """Clip a rate to [low, high].

    Args:
        rate: the rate.
        low: smallest value.
        high: largest value.
    """
    return min(max(rate, low), high)
