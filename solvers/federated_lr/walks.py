"""Two simple baselines: rates in a random walk, and the bold driver rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import BETA_RANGE, Terms
from ...envs.federated_lr.orders import order
from ...methods.federated_lr.controller import GAMMA_ALPHA, GAMMA_BETA, Controller, clip

DECADES = 0.1  # standard deviation of a step of the random walk
RISE, FALL = 1.1, 0.5  # BoldDriver's factors when the loss falls, and when it rises


class RandomWalk(Controller):
    """Change both rates at random, whatever they bring: random search without a second try.

    Every step adds a normal number of deviation DECADES to the decimal logarithm of each rate.
    Alpha is clipped to a factor of 3 and beta to a factor of 10 around their initial values, as in
    FedHyper.
    """

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Seed the walk; see Controller.reset."""
        super().reset(terms, budget, seed)
        self.rng = np.random.default_rng(seed)

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Take one step of the walk; see Controller.act."""
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
    """Raise beta by a tenth while validation loss falls and halve it when it rises.

    After Battiti 1989 ("Accelerated backpropagation learning: two optimization methods"), who also
    takes a bad step back; here training goes on. The loss at a step is that of the model before the
    round's update, so a rate takes effect on it two steps after it was set.

    Attributes:
        last_loss: validation loss of the step before; None at the first.
    """

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Forget the last loss; see Controller.reset."""
        super().reset(terms, budget, seed)
        self.last_loss: float | None = None

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Compare the validation loss with that of the step before; see Controller.act."""
        loss = info["validation_loss"]
        if self.last_loss is not None and loss != self.last_loss:
            self.beta = clip(self.beta * (RISE if loss < self.last_loss else FALL), *BETA_RANGE)
        self.last_loss = loss
        return order(self.alpha, self.beta)
