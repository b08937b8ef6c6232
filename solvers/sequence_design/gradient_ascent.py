"""Gradient ascent on the proxy through straight-through letters (Bengio et al. 2013, arXiv
1308.3432), the "Grad" of Design-Bench (Trabucco et al. 2022, arXiv 2202.08450) on the mean of an
ensemble; and its variants: one network, the minimum of the ensemble ("Grad. Min"), soft letters
seen by the networks, and BIB's Adaptive-eta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.pool import TRAINING_SHARE, Pool, learn, out_of_time
from ...envs.sequence_design.proxy import Ensemble, fit_proxy
from .adam import RATE, Adam, adaptive_rates
from .common import decode, one_hot

STEPS = 200
SHARPNESS = 2.0  # logits of a start's own letters at first
NOISE = 0.5  # of the first logits, from the second pass on


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
    train: Callable[[DesignTask, Clock, np.random.Generator], Proxy] = learn,
    soft: bool = False,
    eta: bool = False,
) -> Solution:
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(task, train(task, clock, rng), clock)
    auxiliary = learn(task, clock, rng) if eta else None
    climb_until_the_end(task, pool, rng, soft, auxiliary)
    return pool.solution()


def _one_network(task: DesignTask, clock: Clock, rng: np.random.Generator) -> Ensemble:
    return fit_proxy(task, rng, TRAINING_SHARE * clock.remaining, members=1)


def _minimum(task: DesignTask, clock: Clock, rng: np.random.Generator) -> Minimum:
    return Minimum(learn(task, clock, rng))


def climb_until_the_end(
    task: DesignTask,
    pool: Pool,
    rng: np.random.Generator,
    soft: bool = False,
    auxiliary: Proxy | None = None,
) -> None:
    """Pass after pass from the start pool on the pool's proxy."""
    first = SHARPNESS * one_hot(task, task.sequences[task.starts])
    noise = 0.0
    while not out_of_time(pool.clock):
        draws = rng.normal(0.0, 1.0, first.shape).astype(np.float32)
        for tokens in climb(task, pool.proxy, first + noise * draws, STEPS, soft, auxiliary):
            pool.add(tokens)
            if out_of_time(pool.clock):
                break
        noise = NOISE


def climb(
    task: DesignTask,
    proxy: Proxy,
    logits: np.ndarray,
    steps: int,
    soft: bool = False,
    auxiliary: Proxy | None = None,
) -> Iterator[np.ndarray]:
    """Yields the sequences int8 [n, L] that logits [n, L, V] stand for, step after step.

    Args:
        task: its banned pairs are respected.
        proxy: what is climbed.
        logits: where to start.
        steps: of Adam.
        soft: whether the proxy sees the softmax's letters, not whole ones.
        auxiliary: what Adaptive-eta sets each candidate's rate by, from the second step on; without
            it the rate is RATE.
    """
    adam = Adam()
    for step in range(steps):
        tokens = decode(task, logits)
        yield tokens
        direction = adam.direction(gradient(task, proxy, tokens, logits, soft))
        rate: float | np.ndarray = RATE
        if auxiliary is not None and step > 0:
            rate = adaptive_rates(gradient(task, auxiliary, tokens, logits, soft), direction)
        logits = logits + rate * direction


def gradient(
    task: DesignTask, proxy: Proxy, tokens: np.ndarray, logits: np.ndarray, soft: bool = False
) -> np.ndarray:
    """Gradient [n, L, V] of the proxy's mean by the logits: the forward pass sees whole letters,
    int8 [n, L], or soft ones; the backward pass goes through the softmax.
    """
    chances = np.exp(logits - logits.max(axis=2, keepdims=True))
    chances /= chances.sum(axis=2, keepdims=True)
    letters = chances if soft else one_hot(task, tokens)
    slope = proxy.gradient(letters.astype(np.float32))
    through: np.ndarray = chances * (slope - (chances * slope).sum(axis=2, keepdims=True))
    return through
