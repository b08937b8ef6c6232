"""The objective of sequence design: the median score of the batch, by the oracle.

Only the judge knows it. An environment says in its place what the task's own proxy expects, in
units of the offline set.
"""

from __future__ import annotations

import numpy as np

from ...core.contracts import Objective
from ...datasets.sequence_design.instance import DesignTask

MEDIAN_SCORE = Objective("median_score", "maximize", "0..1, the landscape's worst and best")
ESTIMATED = Objective(
    "median_score", "maximize", "ESTIMATE by a fitted oracle; 0..1, worst and best measured"
)
LOWEST = Objective(
    "median_score",
    "maximize",
    "ESTIMATE by a fitted oracle; 0..1, highest (worst) and lowest (best) measured",
)


def objective_of(task: DesignTask) -> Objective:
    """Name, direction and unit of the task's objective."""
    if task.estimated:
        return LOWEST if task.negated else ESTIMATED
    return MEDIAN_SCORE


def expected_median(predicted: np.ndarray) -> np.ndarray:
    """What an environment reports as objective, [...]: the median of the proxy's means over the
    batch, [..., batch].
    """
    expected: np.ndarray = np.median(predicted, axis=-1)
    return expected
