"""A pool of the best designs by a proxy of a contender's own, and the handing in."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask, distinct
from ...envs.sequence_design.dynamics import best_offline, feasible
from ...envs.sequence_design.proxy import Ensemble, fit_proxy

TRAINING_SHARE = 0.5  # of the seconds, at most
RESERVE_S = 0.05  # kept back for handing in


class Predictor(Protocol):
    """What ranks designs: an ensemble, or what else a contender believes in."""

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and spreads, float64 [n] each, of tokens int8 [n, L]."""
        ...


def fit_proxy_in_half_the_time(
    task: DesignTask, clock: Clock, rng: np.random.Generator
) -> Ensemble:
    """Fit a contender's own proxy in at most half of the seconds that are left.

    Args:
        task: sealed.
        clock: of the run.
        rng: see fit_proxy.
    """
    return fit_proxy(task, rng, seconds=TRAINING_SHARE * clock.remaining)


def out_of_time(clock: Clock) -> bool:
    """Whether the search should hand in now."""
    return clock.expired or clock.remaining < min(RESERVE_S, 0.1 * clock.budget.seconds)


class Pool:
    """The best different designs by the proxy; at least a batch, the offline set's best to begin
    with.
    """

    def __init__(self, task: DesignTask, proxy: Predictor, clock: Clock) -> None:
        self.task, self.proxy, self.clock = task, proxy, clock
        self.keep = 4 * task.batch_size
        self.tokens = best_offline(task, self.keep)
        self.values, _ = proxy.predict(self.tokens)
        self._sort()

    def add(self, tokens: np.ndarray) -> np.ndarray:
        """Evaluates sequences int8 [n, L] and keeps the best; one evaluation each.

        Returns:
            The proxy's values, float64 [n]; -inf for infeasible ones.
        """
        values = np.full(len(tokens), -np.inf)
        free = feasible(tokens, self.task.banned)
        values[free], _ = self.proxy.predict(tokens[free])
        self.clock.evaluations += len(tokens)
        better = values > (self.values[-1] if len(self.values) >= self.keep else -np.inf)
        if better.any():
            self.tokens = np.concatenate([self.tokens, tokens[better]])
            self.values = np.concatenate([self.values, values[better]])
            self._sort()
        return values

    def _sort(self) -> None:
        rows, _ = distinct(self.tokens)
        rows = rows[np.argsort(-self.values[rows], kind="stable")][: self.keep]
        self.tokens, self.values = self.tokens[rows], self.values[rows]

    @property
    def best(self) -> np.ndarray:
        """The best batch, int8 [B, L]."""
        return self.tokens[: self.task.batch_size]

    def solution(self) -> Solution:
        """Hands in the best batch."""
        return hand_in(self.task, self.best, self.clock)


def hand_in(task: DesignTask, designs: np.ndarray, clock: Clock) -> Solution:
    """Ends the run with designs int8 [n, L] as the plan: letter after letter, design after
    design.
    """
    return clock.solution(designs[: task.batch_size].astype(np.int64).ravel())
