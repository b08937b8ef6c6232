"""The proxy: an ensemble of models of one or several kinds that predicts scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .networks import Members
from .scores import Scale

CHUNK = 4096  # rows predicted at a time


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """M models, E of each kind, whose weighted mean is the prediction.

    Attributes:
        kinds: the models, kind by kind.
        weights: of the members in the mean, float64 [M], with the sum 1.
        scale: maps the models' normal scores to scaled scores.
        choice: how the kind was chosen, in words; empty where kinds are stacked.
    """

    kinds: tuple[Members, ...]
    weights: np.ndarray
    scale: Scale
    choice: str = ""

    @property
    def n_members(self) -> int:
        """Number of models, M."""
        return len(self.weights)

    def predict_members(self, tokens: np.ndarray) -> np.ndarray:
        """Return every member's prediction of sequences int8 [n, L], normal scores float64 [n,
        M].
        """
        values = np.empty((len(tokens), self.n_members))
        for first in range(0, len(tokens), CHUNK):
            rows = np.ascontiguousarray(tokens[first : first + CHUNK], np.int8)[None]
            parts = [kind.forward(rows)[0].T for kind in self.kinds]
            values[first : first + CHUNK] = np.concatenate(parts, axis=1)
        return values

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict the scaled scores of sequences.

        Args:
            tokens: int8 [n, L].

        Returns:
            Mean and spread (weighted standard deviation) over the members, float64 [n] each.
        """
        each = self.predict_members(tokens)
        mean = (each * self.weights).sum(axis=1)
        spread = np.sqrt(((each - mean[:, None]) ** 2 * self.weights).sum(axis=1))
        high, low = self.scale.to_scaled(mean + spread), self.scale.to_scaled(mean - spread)
        return self.scale.to_scaled(mean), (high - low) / 2.0

    def pessimistic(self, tokens: np.ndarray, kappa: float) -> np.ndarray:
        """Return the mean less kappa times the spread, float64 [n].

        Args:
            tokens: int8 [n, L].
            kappa: at least 0.
        """
        mean, spread = self.predict(tokens)
        value: np.ndarray = mean - kappa * spread
        return value

    def member_gradients(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict for weighted letters, and differentiate, member by member.

        Args:
            soft: float32 [n, L, V]; the weight of each letter at each place.

        Returns:
            Normal scores float32 [M, n], and their gradients by `soft`, float32 [M, n, L, V].
        """
        both = [kind.input_gradients(soft) for kind in self.kinds]
        values, gradients = (np.concatenate(parts) for parts in zip(*both, strict=True))
        return values, gradients

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        """Return the gradient of the mean normal score at weighted letters, both float32 [n, L,
        V].
        """
        _, gradients = self.member_gradients(soft)
        gradient: np.ndarray = np.tensordot(self.weights.astype(np.float32), gradients, 1)
        return gradient
