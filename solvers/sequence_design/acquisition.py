"""Bayesian optimization on the ensemble proxy: upper confidence bounds, and expected improvement.

The ensemble's mean and spread stand for a posterior's mean and deviation (Lakshminarayanan et al.
2017, arXiv 1612.01474). A genetic algorithm searches for the designs of the highest acquisition.
Exploration pays where batches follow, so these play in rounds; `bo` has a Gaussian process.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import erfcx, log_ndtr

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import starting_designs
from ...methods.sequence_design.genetic import evolve
from ...methods.sequence_design.in_rounds import InRounds
from ...methods.sequence_design.pool import fit_proxy_in_half_the_time
from ...methods.sequence_design.valued import Valuation, Valued

BETA = 1.0  # spreads that the upper bound is above the mean
INCUMBENT = 1.0  # best measured score, in scaled scores
LEAST_SPREAD = 1e-6
FAR_BELOW = -1.0  # deviations below the incumbent from which another formula is exact


def upper_bound(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return mean + BETA * spread (Srinivas et al. 2010, arXiv 0912.3995, equation 6).

    Args:
        mean: float64 [n].
        spread: float64 [n].
    """
    bound: np.ndarray = mean + BETA * spread
    return bound


def log_improvement(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the logarithm of the expected improvement on the best measured score.

    Far below it, expected improvements are 0 in floating point and tell nothing apart; so the
    logarithm is computed as by Ament et al. 2023 (arXiv 2310.20708, equation 9).

    Args:
        mean: float64 [n], in scaled scores.
        spread: float64 [n].
    """
    deviation = np.maximum(spread, LEAST_SPREAD)
    above = (mean - INCUMBENT) / deviation
    near = np.maximum(above, FAR_BELOW)
    density = np.exp(-0.5 * near**2) / np.sqrt(2.0 * np.pi)
    close = np.log(density + near * np.exp(log_ndtr(near)))
    far = np.minimum(above, FAR_BELOW)
    tail = 1.0 + far * np.sqrt(np.pi / 2.0) * erfcx(-far / np.sqrt(2.0))
    # erfcx(x) -> 1 / (x sqrt(pi)) (1 - 1 / (2 x^2)): the difference is lost below -1e4 or so.
    tail = np.where(far < -1e3, 1.0 / far**2, tail)
    distant = -0.5 * far**2 - 0.5 * np.log(2.0 * np.pi) + np.log(tail)
    improvement: np.ndarray = np.log(deviation) + np.where(above > FAR_BELOW, close, distant)
    return improvement


def _solve(value: Valuation, instance: DesignTask, budget: Budget, seed: int) -> Solution:
    clock = budget.start()
    rng = np.random.default_rng(seed)
    proxy = fit_proxy_in_half_the_time(instance, clock, rng)
    return evolve(instance, Valued(proxy, value), starting_designs(instance), clock, rng)


def solve_ucb(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Search for the designs of the highest upper confidence bounds until the budget ends.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training, the populations, and their breeding.

    Returns:
        The best batch met, by the bound.
    """
    return _solve(upper_bound, instance, budget, seed)


def solve_ei(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Search for the designs of the highest expected improvement until the budget ends.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training, the populations, and their breeding.

    Returns:
        The best batch met, by the expected improvement.
    """
    return _solve(log_improvement, instance, budget, seed)


ucb_in_rounds = partial(InRounds, solve_ucb)
ei_in_rounds = partial(InRounds, solve_ei)
