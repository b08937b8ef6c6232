"""The discrete and the continuous form of an action: multipliers of the two rates."""

from __future__ import annotations

import math

import numpy as np

from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE
from .orders import order

FACTORS = (0.25, math.sqrt(0.5), 1.0, math.sqrt(2.0), 4.0)  # of a rate, in one step
ACTIONS = len(FACTORS) ** 2  # alpha's factor is action // 5, beta's action % 5
STAY = ACTIONS // 2
ROUNDING = 1e-9  # a rate at its limit may stay
MOST_LOG = math.log(FACTORS[-1])  # of a continuous action of 1


def factors_of(action: int) -> tuple[float, float]:
    """The factors of alpha and beta of a discrete action."""
    return FACTORS[action // len(FACTORS)], FACTORS[action % len(FACTORS)]


def mask_of(alpha: float | np.ndarray, beta: float | np.ndarray) -> np.ndarray:
    """Int8 [..., ACTIONS], 1 for the actions that keep both rates [...] in their ranges."""
    of_alpha, of_beta = (
        (rates >= low * (1 - ROUNDING)) & (rates <= high * (1 + ROUNDING))
        for rates, (low, high) in (
            (np.multiply.outer(alpha, FACTORS), ALPHA_RANGE),
            (np.multiply.outer(beta, FACTORS), BETA_RANGE),
        )
    )
    both = of_alpha[..., :, None] & of_beta[..., None, :]
    return both.reshape(*both.shape[:-2], ACTIONS).astype(np.int8)


def order_of_action(action: int, alpha: float, beta: float, server: str) -> np.ndarray:
    """The order, int64 [5], of a discrete action at rates alpha and beta under a server rule."""
    of_alpha, of_beta = factors_of(action)
    return order(alpha * of_alpha, beta * of_beta, server)


def order_of_logs(logs: np.ndarray, alpha: float, beta: float, server: str) -> np.ndarray:
    """The order of a continuous action in -1..1, [2]; rates are drawn into their ranges."""
    of_alpha, of_beta = np.exp(MOST_LOG * np.asarray(logs, float))
    return order(alpha * float(of_alpha), beta * float(of_beta), server)


def nearest_action(alpha: float, beta: float, mask: np.ndarray, now: tuple[float, float]) -> int:
    """The legal discrete action that brings rates (alpha, beta) `now` nearest to those wanted."""
    logs = np.log(FACTORS)
    off = [np.abs(logs - math.log(w / n)) for w, n in zip((alpha, beta), now, strict=True)]
    return int(np.where(mask > 0, np.add.outer(*off).ravel(), np.inf).argmin())
