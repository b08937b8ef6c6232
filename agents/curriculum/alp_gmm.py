"""Learning progress by Gaussian mixtures: ALP-GMM (Portelas et al. 2019, arXiv 1910.07224)."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Curriculum, Outcome, mixed, uniform
from .features import features_of

FEW = 5  # tasks before which there is no earlier one near
COMPONENTS = range(2, 11)
REGULARIZED = 1e-4  # added to the variances of features in 0..1: instances are points, some alike


@dataclass
class LearningProgress(Curriculum):
    """Plays instances of the kind on which returns have changed most.

    An episode's absolute learning progress is |merit - that of the last episode of the nearest
    instance played before|, itself if it was. After each `window` episodes mixtures of 2 to 10
    Gaussians are fitted to (features of the instance, progress) of the last `window`; the one of
    the least AIC counts. A Gaussian is drawn in proportion to its mean progress, then an instance
    in proportion to the Gaussian's density at its features (features.py); a share `uniformly` of
    the draws goes to all alike, and all do before the first fit. (The paper draws a generator's
    parameters from the Gaussian; here the instances are given.)

    Attributes:
        window: episodes that a mixture is fitted to, and between two fits.
        uniformly: share of the draws that all instances have alike.
    """

    window: int = 250
    uniformly: float = 0.2
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "window": (12, 10**6), "uniformly": (0.0, 1.0),
    }  # fmt: skip

    def begin(self) -> None:
        """See the base class."""
        self.features = features_of(self.training.instances)
        self.last = np.full(len(self.training), np.nan)
        self.recent: deque[tuple[int, float]] = deque(maxlen=self.window)
        self.heard = self.fitted_at = 0
        self.chosen = uniform(len(self.training))

    def weights(self) -> np.ndarray:
        """See the base class."""
        return self.chosen

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """See the base class."""
        for outcome in outcomes:
            self.recent.append((outcome.row, self._progress(outcome)))
            self.last[outcome.row] = outcome.merit
            self.heard += 1
        if self.heard - self.fitted_at >= self.window:
            self.fitted_at = self.heard
            self.chosen = mixed(self._by_progress(), self.uniformly)

    def _progress(self, outcome: Outcome) -> float:
        if self.heard <= FEW:
            return 0.0
        away = ((self.features - self.features[outcome.row]) ** 2).sum(axis=1)
        away[np.isnan(self.last)] = np.inf
        away[outcome.row] -= 1.0 if np.isfinite(self.last[outcome.row]) else 0.0
        return float(abs(outcome.merit - self.last[away.argmin()]))

    def _by_progress(self) -> np.ndarray:
        """Return weights of all instances by a newly fitted mixture, float64 [n]; all 0 without
        progress.
        """
        rows, progress = (np.array(part) for part in zip(*self.recent, strict=True))
        if progress.max() <= 0:
            return np.zeros(len(self.training))
        scale = progress.max()
        points = np.column_stack([self.features[rows], progress / scale])
        mixture = _fitted(points, self.training.seed)
        promise = np.maximum(mixture.means_[:, -1], 0.0)
        weights = np.zeros(len(self.training))
        for worth, mean, spread in zip(promise, mixture.means_, mixture.covariances_, strict=True):
            density = _density(self.features, mean[:-1], spread[:-1, :-1])
            weights += worth * density / density.sum()
        return weights


def _fitted(points: np.ndarray, seed: int) -> Any:
    """Return scikit-learn's mixture of the least AIC, of points float64 [N, F + 1]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    most = min(len(np.unique(points, axis=0)), len(points) // 2)
    counts = [count for count in COMPONENTS if count <= most] or [1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [
            GaussianMixture(count, reg_covar=REGULARIZED, random_state=seed).fit(points)
            for count in counts
        ]
    return min(fits, key=lambda mixture: mixture.aic(points))


def _density(points: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return a Gaussian's density at points, float64 [n, F], as shares of the greatest."""
    away = points - mean
    logs = -0.5 * (away * np.linalg.solve(spread, away.T).T).sum(axis=1)
    shares: np.ndarray = np.exp(logs - logs.max())
    return shares
