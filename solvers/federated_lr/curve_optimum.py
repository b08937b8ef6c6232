"""The exact optimum of a learning curve that follows the annealing scaling law.

The loss is floor + scale * S1**-exponent - annealing * S2 (Tissue et al. 2024, arXiv 2408.11029),
with S1 the sum of the rates and S2 linear in them. For a given sum, S2 is largest if the earliest
rounds have all of it: the rates' coefficients in S2 fall from round to round. So the best plan
holds the highest rate, then drops to the lowest, with one round between; and as the loss is convex
in the sum, each segment of it has one minimum in closed form.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.budget import Budget
from ...core.errors import SettingError
from ...core.solution import Solution
from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, CURVE, LAW, Federation
from ...envs.federated_lr.orders import BETA, DECADE, order

ALPHA = 1.0  # the server's rate in every round; beta sets the product


def solve(instance: Federation, budget: Budget, seed: int) -> Solution:
    """Return the proven optimum of a learning curve (Tissue et al. 2024, arXiv 2408.11029).

    Args:
        instance: a federation of the model `curve`, with the objective final_accuracy.
        budget: only the time is counted; the closed form takes milliseconds and no evaluation.
        seed: not used; nothing is random.

    Returns:
        The plan int64 [T + 1, 5], status "optimal", with its accuracy as the bound.

    Raises:
        SettingError: the federation trains a model, or its objective is not the final accuracy.
    """
    clock = budget.start()
    if instance.model != CURVE or instance.objective != "final_accuracy":
        raise SettingError(
            f"{instance.name}: curve_optimum plans learning curves in closed form (model {CURVE}) "
            "for final_accuracy; run a controller instead"
        )
    rates, loss = best_rates(instance.law, instance.rounds)
    orders = np.array([order(ALPHA, rate) for rate in [*rates, rates[-1]]])
    # A code is rounded to the nearest; the highest rate must not be passed.
    highest = math.floor(math.log10(rates.max() * (1 - 1e-12) / BETA_RANGE[0]) * DECADE)
    orders[:, BETA] = np.minimum(orders[:, BETA], highest)
    return clock.solution(orders, "optimal", math.exp(-max(loss, 0.0)))


def best_rates(law: np.ndarray, rounds: int) -> tuple[np.ndarray, float]:
    """Minimize the loss of a scaling law over the rates of a run.

    Args:
        law: float64 [6]; the numbers that LAW names, in its order.
        rounds: T.

    Returns:
        The rates (alpha times beta) float64 [T], and the loss at the end, which may be below 0.
    """
    floor, scale, exponent, annealing, memory, most = (float(law[LAW.index(n)]) for n in LAW)
    low, high = BETA_RANGE[0] * ALPHA_RANGE[0], min(most, BETA_RANGE[1])
    weights = coefficients(memory, rounds)
    best, least = np.full(rounds, low), math.inf
    for held in range(rounds):  # rounds at the highest rate, before the one between
        rates = np.full(rounds, low)
        rates[:held] = high
        others = most + rates.sum() - low
        # d/d eta: -scale * exponent * S**-(exponent + 1) = annealing * weight
        slope = -annealing * weights[held]
        eta = high
        if slope > 0:
            eta = (scale * exponent / slope) ** (1.0 / (exponent + 1.0)) - others
        rates[held] = min(max(eta, low), high)
        total = most + rates.sum()
        loss = floor + scale * total**-exponent - annealing * float(weights @ rates)
        if loss < least:
            best, least = rates, loss
    return best, least


def coefficients(memory: float, rounds: int) -> np.ndarray:
    """Compute the rates' coefficients in S2.

    A rate adds by the fall from it to the next one, and subtracts by the fall to it.

    Args:
        memory: lambda of the law, below 1.
        rounds: T.

    Returns:
        float64 [T].
    """
    falls = (1.0 - memory ** np.arange(rounds, 0, -1.0)) / (1.0 - memory)
    falls[0] = 0.0  # the first rate falls from nothing
    found: np.ndarray = np.append(falls[1:], 0.0) - falls
    return found
