"""Gradient ascent on the proxy through straight-through letters (Bengio et al. 2013, arXiv
1308.3432), the "Grad" of Design-Bench (Trabucco et al. 2022, arXiv 2202.08450) on the mean of an
ensemble; and its variants: one network, the minimum of the ensemble ("Grad. Min"), soft letters
seen by the networks, and BIB's Adaptive-eta.
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
    """An ensemble that predicts what its most doubtful member does, among the kind of networks that
    it trusts most.
    """

    ensemble: Ensemble

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minimum, and the ensemble's spread, float64 [n] each, of tokens int8 [n, L]."""
        each = self.ensemble.predict_members(tokens)[:, self._trusted]
        return self.ensemble.scale.to_scaled(each.min(axis=1)), self.ensemble.predict(tokens)[1]

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        """As Ensemble.gradient, of each input's most doubtful member."""
        values, slopes = (part[self._trusted] for part in self.ensemble.member_gradients(soft))
        gradient: np.ndarray = slopes[values.argmin(axis=0), np.arange(len(soft))]
        return gradient

    @property
    def _trusted(self) -> np.ndarray:
        return np.flatnonzero(self.ensemble.weights == self.ensemble.weights.max())


Proxy = Ensemble | Minimum


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climbs from the start pool with Adam, pass after pass, noise on the first logits from the
    second on, and hands in the best of all sequences met; one evaluation is one of them.
    """
    return _solve(instance, budget, seed)


def solve_single(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climbs one network in the place of an ensemble."""
    return _solve(instance, budget, seed, train=_one_network)


def solve_min(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climbs the minimum over the ensemble, and ranks by it."""
    return _solve(instance, budget, seed, train=_minimum)


def solve_soft(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climbs with the softmax's letters, not whole ones, in the networks."""
    return _solve(instance, budget, seed, soft=True)


def solve_eta(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climbs with Adaptive-eta; its auxiliary proxy is another ensemble, of other draws."""
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
