"""Training of networks by Adam (Kingma & Ba 2015)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numba import njit

from .networks import Networks

BATCH = 64
RATE, WARM_STEPS = 3e-3, 50
PACE_STEPS = 10  # steps that are timed
LEAST_TIMED_S = 1e-3  # so that one is timed, however late it is
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Trainer:
    """Trains networks by Adam, each member on batches of its own.

    Args:
        networks: changed in place.
        sequences: int8 [N, L].
        targets: float [N].
        rng: draws batches.
        fold: int [N]; member e does not see the rows of fold e. None: every member sees all rows.

    Attributes:
        steps: steps of Adam done.
    """

    def __init__(
        self,
        networks: Networks,
        sequences: np.ndarray,
        targets: np.ndarray,
        rng: np.random.Generator,
        fold: np.ndarray | None = None,
    ) -> None:
        self.networks, self.rng = networks, rng
        self.sequences, self.targets = sequences, targets.astype(np.float32)
        self._moments = [(np.zeros_like(w), np.zeros_like(w)) for w in networks.weights]
        everything = np.arange(len(targets))
        self._rows = [
            everything if fold is None else np.flatnonzero(fold != member)
            for member in range(len(networks.weights[0]))
        ]
        self.steps = 0

    def draw_rows(self, count: int) -> np.ndarray:
        """Draw `count` rows for each member, with replacement, int64 [E, count]."""
        drawn = [rows[self.rng.integers(len(rows), size=count)] for rows in self._rows]
        return np.stack(drawn)

    def train(self, steps: int, until: float = math.inf) -> None:
        """Lower the squared error; the learning rate warms up, then falls to 0 along a cosine.

        Args:
            steps: of Adam.
            until: time of time.perf_counter at which to stop early.
        """
        batch = min(BATCH, len(self.targets))
        for at in range(steps):
            if time.perf_counter() > until:
                break
            rows = self.draw_rows(batch)
            rate = RATE * cosine_decay(at / steps) * min(1.0, (at + 1) / WARM_STEPS)
            self.step(self.sequences[rows], self._errors(rows), rate)

    def measure_pace(self, until: float = math.inf) -> float:
        """Train a few steps and return the seconds that one takes.

        Args:
            until: time of time.perf_counter at which to stop early, after one step at least.
        """
        self.train(1)  # may compile
        started, done = time.perf_counter(), self.steps
        self.train(PACE_STEPS, max(until, started + LEAST_TIMED_S))
        if self.steps == done:  # another process had the core meanwhile
            self.train(1)
        return (time.perf_counter() - started) / (self.steps - done)

    def _errors(self, rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from predictions to the gradient of the squared error on the rows."""
        targets = self.targets[rows]
        return lambda values: (2.0 / values.shape[1]) * (values - targets)

    def step(
        self, tokens: np.ndarray, slope: Callable[[np.ndarray], np.ndarray], rate: float
    ) -> None:
        """Do one step of Adam.

        Args:
            tokens: each member's batch, int8 [E, n, L].
            slope: maps predictions float32 [E, n] to the gradient of the loss by them.
            rate: learning rate.
        """
        values, activations = self.networks.forward(tokens)
        gradients = self.networks.backward(activations, slope(values).astype(np.float32))
        self.steps += 1
        scale = rate * np.sqrt(1.0 - BETA2**self.steps) / (1.0 - BETA1**self.steps)
        for weight, gradient, (mean, square) in zip(
            self.networks.weights, gradients, self._moments, strict=True
        ):
            _adam(weight.ravel(), gradient.ravel(), mean.ravel(), square.ravel(), np.float32(scale))


def cosine_decay(spent: float) -> float:
    """Return 1 at spent = 0, falling to 0 at spent = 1 along a cosine."""
    return float(0.5 * (1.0 + np.cos(np.pi * spent)))


@njit(cache=True)
def _adam(
    weights: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    scale: np.float32,
) -> None:
    """Update the weights and the moments in place.

    Args:
        weights: float32 [P].
        gradient: float32 [P].
        mean: first moment, float32 [P].
        square: second moment, float32 [P].
        scale: learning rate with the bias corrections.
    """
    keep1, new1 = np.float32(BETA1), np.float32(1.0 - BETA1)
    keep2, new2 = np.float32(BETA2), np.float32(1.0 - BETA2)
    small = np.float32(EPSILON)
    for at in range(len(weights)):
        slope = gradient[at]
        mean[at] = keep1 * mean[at] + new1 * slope
        square[at] = keep2 * square[at] + new2 * slope * slope
        weights[at] -= scale * mean[at] / (np.sqrt(square[at]) + small)
