"""The objectives of federated training.

The judge alone has the test rows that the objectives are of (validate.py scores them by itself); an
environment reports the same of the validation rows.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.contracts import Objective
from ...datasets.federated_lr.instance import Federation

ROUNDING = 1e-9  # of accuracies
OBJECTIVES_BY_NAME = {
    "final_accuracy": Objective("final_accuracy", "maximize", "share of test rows, after T rounds"),
    "rounds_to_target": Objective(
        "rounds_to_target", "minimize", "rounds to the target test accuracy; T + 1 if never"
    ),
    "area_under_curve": Objective(
        "area_under_curve", "maximize", "mean test accuracy over the rounds"
    ),
}


def objective_of(federation: Federation) -> Objective:
    """Return the name, direction and unit of the federation's objective."""
    return OBJECTIVES_BY_NAME[federation.objective]


def first_at(accuracies: np.ndarray, target: float) -> int:
    """Return the number of the first round, from 1, that reaches a target; T + 1 if none does.

    An accuracy that is at most ROUNDING below the target reaches it, so that the result does not
    depend on how a mean is rounded.

    Args:
        accuracies: after each of the T rounds, float64 [T].
        target: accuracy to reach.
    """
    reached = np.flatnonzero(accuracies >= target - ROUNDING)
    return int(reached[0]) + 1 if len(reached) else len(accuracies) + 1


def score(name: str, accuracies: np.ndarray, rounds: int, target: float) -> float:
    """Score the rounds so far; rounds that are missing, as after divergence, count as accuracy 0.

    Args:
        name: of OBJECTIVES_BY_NAME.
        accuracies: after each of the rounds so far, float64 [t].
        rounds: of the episode, T.
        target: accuracy to reach, for rounds_to_target.
    """
    whole = np.zeros(rounds)
    whole[: len(accuracies)] = accuracies
    if name == "final_accuracy":
        return float(whole[-1])
    if name == "area_under_curve":
        return math.fsum(whole) / rounds
    return float(first_at(whole, target))
