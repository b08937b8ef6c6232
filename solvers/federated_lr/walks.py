"""The plain yardsticks: rates that walk at random, and the classic greedy rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import BETA_RANGE, Terms
from ...envs.federated_lr.orders import order
from ...methods.federated_lr.controller import GAMMA_ALPHA, GAMMA_BETA, Controller, clip

DECADES = 0.1  # standard deviation of a step of the walk
RISE, FALL = 1.1, 0.5


class RandomWalk(Controller):
    """Random search where nothing can be tried twice: both rates walk, whatever they bring.

    Every step adds a normal number of DECADES to the decimal logarithm of each rate. Alpha is held
    within a factor of 3 and beta within a factor of 10 of where they start, the reach that FedHyper
    has.
    """

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Takes up the initial rates and the seed."""
        super().reset(terms, budget, seed)
        self.rng = np.random.default_rng(seed)

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Takes one step of the walk."""
        alpha, beta = self.rng.normal(0.0, DECADES * math.log(10.0), 2)
        start = self.terms
        self.alpha = clip(
            self.alpha * math.exp(alpha), start.alpha / GAMMA_ALPHA, start.alpha * GAMMA_ALPHA
        )
        self.beta = clip(
            self.beta * math.exp(beta), start.beta / GAMMA_BETA, start.beta * GAMMA_BETA
        )
        return order(self.alpha, self.beta)


class BoldDriver(Controller):
    """Raises beta by a tenth while validation loss falls and halves it when it rises.

    After Battiti 1989 ("Accelerated backpropagation learning: two optimization methods"), who also
    takes a bad step back; here training goes on from where it is. The loss of a step is of the
    model before the update in hand, so that a rate shows two steps after it was set.
    """

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Takes up the initial rates; no loss has been seen."""
        super().reset(terms, budget, seed)
        self.last_loss: float | None = None

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Compares the validation loss with that of the step before."""
        loss = info["validation_loss"]
        if self.last_loss is not None and loss != self.last_loss:
            self.beta = clip(self.beta * (RISE if loss < self.last_loss else FALL), *BETA_RANGE)
        self.last_loss = loss
        return order(self.alpha, self.beta)
