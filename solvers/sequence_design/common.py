"""What the solvers share: a proxy of their own, a pool of the best designs found, and plans. Uses
numpy and envs.
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask, distinct
from ...envs.sequence_design.dynamics import best_offline, feasible
from ...envs.sequence_design.proxy import Ensemble, fit_proxy

TRAINING_SHARE = 0.5  # of the seconds, at most
RESERVE_S = 0.05  # kept back for handing in


def learn(task: DesignTask, clock: Clock, rng: np.random.Generator) -> Ensemble:
    """The contender's own proxy, trained in at most half of the seconds."""
    return fit_proxy(task, rng, seconds=TRAINING_SHARE * clock.remaining)


def out_of_time(clock: Clock) -> bool:
    """Whether the search should hand in now."""
    return clock.expired or clock.remaining < min(RESERVE_S, 0.1 * clock.budget.seconds)


class Pool:
    """The best different designs by the proxy; at least a batch, the offline set's best to begin
    with.
    """

    def __init__(self, task: DesignTask, proxy: Ensemble, clock: Clock) -> None:
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

    def solution(self) -> Solution:
        """Hands in the best batch."""
        return hand_in(self.task, self.tokens[: self.task.batch_size], self.clock)


def hand_in(task: DesignTask, designs: np.ndarray, clock: Clock) -> Solution:
    """Ends the run with designs int8 [n, L] as the plan: letter after letter, design after
    design.
    """
    return clock.solution(designs[: task.batch_size].astype(np.int64).ravel())


def random_designs(task: DesignTask, count: int, rng: np.random.Generator) -> np.ndarray:
    """Feasible sequences int8 [count, L]: each letter drawn alike from those that may follow."""
    steps = np.cumsum(~task.banned, axis=1)
    tokens = np.empty((count, task.length), np.int8)
    tokens[:, 0] = rng.integers(task.letters, size=count)
    for place in range(1, task.length):
        allowed = steps[tokens[:, place - 1]]
        draw = (rng.random(count) * allowed[:, -1]).astype(np.int64)
        tokens[:, place] = (allowed <= draw[:, None]).sum(axis=1)
    return tokens


def mutants(parents: np.ndarray, letters: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Copies of sequences int8 [n, L] in which each letter is drawn anew with the given chance."""
    changed = rng.random(parents.shape) < rate
    shift = rng.integers(1, letters, parents.shape)
    return np.where(changed, (parents + shift) % letters, parents).astype(np.int8)


def decode(task: DesignTask, logits: np.ndarray) -> np.ndarray:
    """The feasible sequences int8 [n, L] that logits [n, L, V] prefer, letter by letter."""
    tokens = np.empty(logits.shape[:2], np.int8)
    tokens[:, 0] = logits[:, 0].argmax(axis=1)
    for place in range(1, task.length):
        barred = task.banned[tokens[:, place - 1]]
        tokens[:, place] = np.where(barred, -np.inf, logits[:, place]).argmax(axis=1)
    return tokens


def one_hot(task: DesignTask, tokens: np.ndarray) -> np.ndarray:
    """float32 [n, L, V]."""
    hot: np.ndarray = np.eye(task.letters, dtype=np.float32)[tokens]
    return hot
