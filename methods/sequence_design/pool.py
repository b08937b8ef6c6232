"""The pool of best designs by a contender's own proxy, from which the final batch is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

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
LOOK_SHARE = 0.03  # of the budget, after which a search looks at the clock again
TIMED = 4  # rows of a step that are timed
FIRST_ROWS = 64  # predicted before it is known how long a row takes
MOST_LETTERS = 2**14  # of the designs that a step takes
LEARNING = 2.5  # times that learning from designs takes as long as sampling them, at most


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


def affordable_rows(rows: np.ndarray, compute: Callable[[np.ndarray], Any], clock: Clock) -> int:
    """Return how many of some rows a step of a search may take, so that it ends in time.

    Args:
        rows: [n, ...]; the rows of a whole step.
        compute: what a step computes of rows; it is timed on TIMED of them, and on
            more as long as that may show that more can be taken.
        clock: of the run; a step may take LOOK_SHARE of its budget.

    Returns:
        From 1 to n.
    """
    count = TIMED
    while True:
        began = clock.elapsed
        compute(rows[:count])
        spent = max(clock.elapsed - began, 1e-9)
        affordable = int(min(count, len(rows)) * LOOK_SHARE * clock.budget.seconds / spent)
        if affordable <= count or 4 * count >= len(rows) or affordable >= 4 * len(rows):
            return max(1, min(len(rows), affordable))
        count *= 4  # many rows at a time may take less each


def at_a_time(task: DesignTask, most: int, letters: int = MOST_LETTERS) -> int:
    """Return how many designs a step takes: fewer of long ones, so that it looks at the clock.

    Args:
        task: gives the length.
        most: number of short designs that a step takes.
        letters: the most letters that it takes.
    """
    return max(1, min(most, letters // task.length))


def has_time_to_learn(clock: Clock, sampling_s: float) -> bool:
    """Return whether a step of learning, which does not look at the clock, ends in time.

    Args:
        clock: of the run.
        sampling_s: seconds in which the designs that it learns from were sampled.
    """
    return not out_of_time(clock) and clock.remaining > LEARNING * sampling_s


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
        self._rows = FIRST_ROWS  # predicted between two looks at the clock
        self.values = self._predict(self.tokens)
        self._sort()

    def add(self, tokens: np.ndarray) -> np.ndarray:
        """Score sequences int8 [n, L] and keep the best; each counts as one evaluation.

        Returns:
            The proxy's predictions, float64 [n]; -inf for infeasible sequences, and for those that
            the time did not do for.
        """
        values = np.full(len(tokens), -np.inf)
        free = legal(self.task, tokens)
        values[free] = self._predict(tokens[free])
        self.clock.evaluations += len(tokens)
        better = values > (self.values[-1] if len(self.values) >= self.keep else -np.inf)
        if better.any():
            self.tokens = np.concatenate([self.tokens, tokens[better]])
            self.values = np.concatenate([self.values, values[better]])
            self._sort()
        return values

    def _predict(self, tokens: np.ndarray) -> np.ndarray:
        """Predict sequences int8 [n, L] while time is left, float64 [n]; -inf afterwards."""
        values = np.full(len(tokens), -np.inf)
        at = 0
        while at < len(tokens) and not out_of_time(self.clock):
            part, began = tokens[at : at + self._rows], self.clock.elapsed
            values[at : at + len(part)], _ = self.proxy.predict(part)
            at += len(part)
            row_s = (self.clock.elapsed - began) / len(part)
            affordable = LOOK_SHARE * self.clock.budget.seconds / max(row_s, 1e-9)
            self._rows = int(min(max(1.0, affordable), 8.0 * len(part)))
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
