"""The pool of best designs by a contender's own proxy, from which the final batch is taken."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.sequence_design.equality import distinct
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.designs import best_offline
from ...envs.sequence_design.proxy import Ensemble, fit_proxy
from ...envs.sequence_design.rules import legal, starting_designs

TRAINING_SHARE = 0.5  # largest share of the seconds left that training takes
RESERVE_S = 0.05  # seconds kept for returning the plan


class Predictor(Protocol):
    """A model that ranks designs: an ensemble of networks, or another model of the score."""

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and their spreads, float64 [n] each, for tokens int8 [n, L]."""
        ...


def fit_proxy_in_half_the_time(
    task: DesignTask, clock: Clock, rng: np.random.Generator
) -> Ensemble:
    """Fit a contender's own proxy in at most half of the seconds that remain.

    Args:
        task: sealed.
        clock: of the run.
        rng: draws weights, folds and batches; see fit_proxy.
    """
    return fit_proxy(task, rng, seconds=TRAINING_SHARE * clock.remaining)


def out_of_time(clock: Clock) -> bool:
    """Return whether a search should stop and hand in its batch."""
    return clock.expired or clock.remaining < min(RESERVE_S, 0.1 * clock.budget.seconds)


class Pool:
    """The best distinct designs by a proxy, four batches at most; the best offline ones at first.

    Args:
        task: the task.
        proxy: scores the designs.
        clock: of the run; counts one evaluation for each sequence added.

    Attributes:
        keep: most designs kept.
        tokens: int8 [k, L], k <= keep; the designs, best first.
        values: float64 [k]; the proxy's predictions for them.
    """

    def __init__(self, task: DesignTask, proxy: Predictor, clock: Clock) -> None:
        self.task, self.proxy, self.clock = task, proxy, clock
        self.keep = 4 * task.batch_size
        self.tokens = best_offline(task, self.keep)
        if task.ruled:  # perhaps no measured sequence keeps the rules
            self.tokens = np.concatenate([self.tokens, starting_designs(task)])
        self.values, _ = proxy.predict(self.tokens)
        self._sort()

    def add(self, tokens: np.ndarray) -> np.ndarray:
        """Score sequences int8 [n, L] and keep the best; each counts as one evaluation.

        Returns:
            The proxy's predictions, float64 [n]; -inf for infeasible sequences.
        """
        values = np.full(len(tokens), -np.inf)
        free = legal(self.task, tokens)
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
        """Finish the run with the best batch."""
        return hand_in(self.task, self.best, self.clock)


def hand_in(task: DesignTask, designs: np.ndarray, clock: Clock) -> Solution:
    """Finish a run with designs as its plan: the letters of one design after another.

    Args:
        task: the task; designs beyond its batch size are left out.
        designs: int8 [n, L], best first.
        clock: of the run.

    Returns:
        A solution with actions int64 [min(n, batch_size) * L].
    """
    return clock.solution(designs[: task.batch_size].astype(np.int64).ravel())
