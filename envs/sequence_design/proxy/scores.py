"""The scores that proxies are trained on, and the way back to scores of the offline set.

Networks are trained on normal scores: a row's rank as a quantile of the normal distribution, which
no outlier bends. Predictions are reported as scaled scores: 0 is the offline set's worst, 1 its
best.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ....core.instance import remembered
from ....datasets.sequence_design.instance import DesignTask

MOST_KNOTS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """A piecewise linear map from normal scores to scaled scores.

    Attributes:
        normal: normal scores at the knots, float64 [k], rising.
        scaled: scaled scores there, float64 [k], rising.
    """

    normal: np.ndarray
    scaled: np.ndarray

    def to_scaled(self, normal: np.ndarray) -> np.ndarray:
        """Map normal scores to scaled scores, float64 of the same shape.

        Beyond the offline set the map is linear, as steep as over the last unit of normal scores.
        """
        values: np.ndarray = np.interp(normal, self.normal, self.scaled)
        for end, step in ((-1, 1.0), (0, -1.0)):
            edge, inside = self.normal[end], self.normal[end] - step
            rise = (self.scaled[end] - np.interp(inside, self.normal, self.scaled)) / step
            beyond = (normal - edge) * step
            values = values + np.where(beyond > 0, beyond * step * rise, 0.0)
        return values


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation, equal values having their mean rank; 0 if constant.

    Args:
        one: float [n].
        other: float [n].
    """
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(_mean_ranks(one), _mean_ranks(other))[0, 1])


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2.0)[group]
    return ranks


def scaled_scores(task: DesignTask) -> np.ndarray:
    """Return the offline scores, float64 [N], scaled so that 0 is the worst and 1 the best."""
    low, high = task.scores.min(), task.scores.max()
    scaled: np.ndarray = (task.scores - low) / (high - low)
    return scaled


def normal_scores(task: DesignTask) -> tuple[np.ndarray, Scale]:
    """Turn the offline scores into normal scores.

    Args:
        task: sealed or not.

    Returns:
        Normal scores float64 [N], the quantile of the normal distribution at each row's rank (mean
        rank for equal scores), standardized; and the map from them to scaled scores. They are
        computed once for each task, and are not to be changed.
    """
    return remembered(task, _normal_scores)


def _normal_scores(task: DesignTask) -> tuple[np.ndarray, Scale]:
    scaled, group, counts = np.unique(scaled_scores(task), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    quantile = NormalDist().inv_cdf
    normal = np.array([quantile((rank - 0.5) / len(group)) for rank in ranks])
    normal = (normal - normal[group].mean()) / normal[group].std()
    knots = np.unique(np.linspace(0, len(normal) - 1, MOST_KNOTS).round().astype(np.int64))
    targets: np.ndarray = normal[group]
    targets.setflags(write=False)
    return targets, Scale(normal[knots], scaled[knots])
