"""The objectives of federated training.

They are of the test rows, which only the judge has; an environment says in their place the same of
the validation rows.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.contracts import Objective
from ...datasets.federated_lr.instance import Federation

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
    """Name, direction and unit of the federation's objective."""
    return OBJECTIVES_BY_NAME[federation.objective]


def first_at(accuracies: np.ndarray, target: float) -> int:
    """The first of the rounds [T] whose accuracy reaches the target, from 1; T + 1 if none does."""
    reached = np.flatnonzero(accuracies >= target)
    return int(reached[0]) + 1 if len(reached) else len(accuracies) + 1


def score(name: str, accuracies: np.ndarray, rounds: int, target: float) -> float:
    """An objective of the accuracies of the rounds so far [t]; what is missing of T rounds, as
    after divergence, counts 0.
    """
    whole = np.zeros(rounds)
    whole[: len(accuracies)] = accuracies
    if name == "final_accuracy":
        return float(whole[-1])
    if name == "area_under_curve":
        return math.fsum(whole) / rounds
    return float(first_at(whole, target))
