"""What the servers of federations know, one row a lane: everything observations, info and
controllers are made of.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...datasets.federated_lr.instance import Federation

DIVERGED_ABOVE = 20.0  # times the first model's validation loss
TINY = 1e-12


@dataclass(slots=True)
class Statistics:
    """Float64 [E] each, but for step and rounds (int64) and diverged (bool).

    Attributes:
        step: orders taken; rounds: of the episode, T.
        alpha, beta: rates of the last order; at first the instance's.
        validation_loss, validation_accuracy: of the model now. initial_loss: of the first model.
        train_loss, gradient_norm: means over the participants of the round in hand, at their first
            local step.
        update_norm: of the update in hand; mean_square_norm: mean of its participants' squares.
        inner_product, cosine: of the update in hand and the one before.
        diverged: whether training has left what is finite.
    """

    step: np.ndarray
    rounds: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    validation_loss: np.ndarray
    validation_accuracy: np.ndarray
    initial_loss: np.ndarray
    train_loss: np.ndarray
    gradient_norm: np.ndarray
    update_norm: np.ndarray
    mean_square_norm: np.ndarray
    inner_product: np.ndarray
    cosine: np.ndarray
    diverged: np.ndarray

    def clear(self, lane: int, federation: Federation, loss: float, accuracy: float) -> None:
        """A lane begins, with the first model's validation loss and accuracy."""
        for name in NAMES:
            getattr(self, name)[lane] = 0
        self.rounds[lane] = federation.rounds
        self.alpha[lane], self.beta[lane] = federation.alpha, federation.beta
        self.initial_loss[lane] = self.validation_loss[lane] = self.train_loss[lane] = loss
        self.validation_accuracy[lane] = accuracy

    def validated(self, lanes: np.ndarray, loss: np.ndarray, accuracy: np.ndarray) -> None:
        """A round's update was applied; loss and accuracy [E] of the models that came of it."""
        bound = DIVERGED_ABOVE * self.initial_loss[lanes]
        sane = np.isfinite(loss) & (loss <= bound)
        accuracy = np.where(sane, accuracy, 0.0)
        self.validation_loss[lanes] = np.where(sane, loss, bound)
        self.validation_accuracy[lanes] = accuracy
        self.diverged[lanes] |= ~sane

    def trained(
        self,
        lanes: np.ndarray,
        train_loss: np.ndarray,
        gradient_norm: np.ndarray,
        update_norm: np.ndarray,
        mean_square_norm: np.ndarray,
        inner_product: np.ndarray,
        last_norm: np.ndarray,
    ) -> None:
        """A round's clients have answered; what there is to say of it, [E] each."""
        scale = update_norm * last_norm
        with np.errstate(invalid="ignore", over="ignore"):
            cosine = np.where(scale > TINY, inner_product / np.maximum(scale, TINY), 0.0)
        found = {
            "train_loss": train_loss, "gradient_norm": gradient_norm, "update_norm": update_norm,
            "mean_square_norm": mean_square_norm, "inner_product": inner_product, "cosine": cosine,
        }  # fmt: skip
        sane = np.logical_and.reduce([np.isfinite(part) for part in found.values()])
        self.diverged[lanes] |= ~sane
        for name, part in found.items():
            getattr(self, name)[lanes] = np.where(sane, part, 0.0)

    def columns(self) -> dict[str, np.ndarray]:
        """Every lane's numbers by name, copies."""
        return {name: getattr(self, name).copy() for name in NAMES}

    def row(self, lane: int) -> dict[str, Any]:
        """A lane's numbers by name, as plain numbers."""
        return {name: getattr(self, name).item(lane) for name in NAMES}


NAMES = tuple(part.name for part in fields(Statistics))


def blank(lanes: int) -> Statistics:
    """Of lanes that have not begun."""
    kinds = {"step": np.int64, "rounds": np.int64, "diverged": np.bool_}
    return Statistics(**{name: np.zeros(lanes, kinds.get(name, np.float64)) for name in NAMES})
