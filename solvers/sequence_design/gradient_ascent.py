"""Gradient ascent on a proxy through straight-through letters, and its variants.

Straight-through letters are those of Bengio et al. 2013 (arXiv 1308.3432). `solve` is the "Grad" of
Design-Bench (Trabucco et al. 2022, arXiv 2202.08450) on the mean of an ensemble; the variants climb
one network of each kind, the minimum of the ensemble ("Grad. Min"), relaxed letters, or with BIB's
Adaptive-eta.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.proxy import Ensemble, fit_proxy
from ...methods.sequence_design.ascent import climb_until_the_end
from ...methods.sequence_design.pool import TRAINING_SHARE, Pool, fit_proxy_in_half_the_time


@dataclass(frozen=True, slots=True, eq=False)
class Minimum:
    """The lowest prediction of an ensemble's members, among the kind of the largest weight.

    Attributes:
        ensemble: the ensemble.
    """

    ensemble: Ensemble

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict the scaled scores of tokens int8 [n, L].

        Returns:
            The minimum over the members, and the ensemble's spread, float64 [n] each.
        """
        each = self.ensemble.predict_members(tokens)[:, self._trusted]
        return self.ensemble.scale.to_scaled(each.min(axis=1)), self.ensemble.predict(tokens)[1]

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        """Differentiate the lowest member's normal score by relaxed letters, float32 [n, L, V]."""
        values, slopes = (part[self._trusted] for part in self.ensemble.member_gradients(soft))
        gradient: np.ndarray = slopes[values.argmin(axis=0), np.arange(len(soft))]
        return gradient

    @property
    def _trusted(self) -> np.ndarray:
        return np.flatnonzero(self.ensemble.weights == self.ensemble.weights.max())


Proxy = Ensemble | Minimum


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climb the mean of an ensemble from the start pool, pass after pass, until the budget ends.

    "Grad" of Design-Bench (Trabucco et al. 2022). The first logits have noise from the second pass
    on.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training and the noise.

    Returns:
        The best batch met, by the proxy.
    """
    return _solve(instance, budget, seed)


def solve_single(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climb a proxy of one network of each kind in place of an ensemble.

    Args:
        instance: as for `solve`.
        budget: as for `solve`.
        seed: as for `solve`.
    """
    return _solve(instance, budget, seed, train=_one_network)


def solve_min(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climb the minimum over the ensemble, and rank by it ("Grad. Min" of Design-Bench).

    Args:
        instance: as for `solve`.
        budget: as for `solve`.
        seed: as for `solve`.
    """
    return _solve(instance, budget, seed, train=_minimum)


def solve_soft(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climb relaxed letters: the networks read the softmax of the logits, not whole letters.

    Args:
        instance: as for `solve`.
        budget: as for `solve`.
        seed: as for `solve`.
    """
    return _solve(instance, budget, seed, soft=True)


def solve_eta(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climb with Adaptive-eta (Chen et al. 2023, arXiv 2301.02931, section 4.3).

    Args:
        instance: as for `solve`.
        budget: as for `solve`; the auxiliary proxy, another ensemble, takes half of the seconds
            that the first one leaves, at most.
        seed: as for `solve`, and the auxiliary proxy's training.
    """
    return _solve(instance, budget, seed, eta=True)


def _solve(
    task: DesignTask,
    budget: Budget,
    seed: int,
    train: Callable[[DesignTask, Clock, np.random.Generator], Proxy] = fit_proxy_in_half_the_time,
    soft: bool = False,
    eta: bool = False,
) -> Solution:
    clock = budget.start()
    rng = np.random.default_rng(seed)
    proxy = train(task, clock, rng)
    pool = Pool(task, proxy, clock)
    auxiliary = fit_proxy_in_half_the_time(task, clock, rng) if eta else None
    climb_until_the_end(task, pool, proxy, rng, soft, auxiliary)
    return pool.solution()


def _one_network(task: DesignTask, clock: Clock, rng: np.random.Generator) -> Ensemble:
    return fit_proxy(task, rng, TRAINING_SHARE * clock.remaining, members=1)


def _minimum(task: DesignTask, clock: Clock, rng: np.random.Generator) -> Minimum:
    return Minimum(fit_proxy_in_half_the_time(task, clock, rng))
