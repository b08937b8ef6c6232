"""Rounds with feedback: batches are measured one after the other, and every score is then known.

The environment of such a task plays the laboratory, so it holds the oracle's handle; a contender
holds a sealed task, and meets scores in observations, after each of its R batches and never before.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np

from ...datasets.sequence_design.instance import START_POOL, DesignTask, seal
from .designs import Designs, ranked_rows
from .proxy import Ensemble, reference_proxy

Scoring = Callable[[np.ndarray], np.ndarray]


class _Opened(Protocol):
    """What is used of an oracle; see datasets.sequence_design.landscapes."""

    score: Scoring
    low: float
    high: float


class _Opener(Protocol):
    """The family's Problem, through which the environment reaches oracles without their import."""

    def open_oracle(self, task: DesignTask, /) -> _Opened: ...


class Rounds:
    """What has been measured in an episode of several rounds.

    Args:
        problem: the family's `Problem`, which opens oracles.
        task: with its oracle.
        size: designs of a batch.

    Attributes:
        done: batches measured so far.
        size: designs of a batch.
        tokens: int8 [R * size, L]; the different designs measured, in the order handed in, then
            rows of V. Replaced, not changed, when a batch is measured.
        scores: float64 [R * size]; their scores, 0 the offline set's worst and 1 its best; then 0.
            Replaced likewise.
        by_round: (best, median) of all designs measured so far, after each round, normalized.
        now: best and median of what was measured so far, padded with the best offline sequences to
            R batches, normalized; the median is the task's objective.

    Raises:
        InstanceError: the task is sealed, as those of contenders are.
    """

    def __init__(self, problem: Any, task: DesignTask, size: int) -> None:
        self._problem, self._task = cast(_Opener, problem), task
        oracle = self._problem.open_oracle(task)
        self._low, self._high = oracle.low, oracle.high
        self._imagined: Scoring | None = None
        self._known = Designs(task, task.rounds * size)
        self._score_of = _scores_of(task, self._known.batch())
        self.size, self.done = size, 0
        self.tokens = np.full((task.rounds * size, task.length), task.letters, np.int8)
        self.scores = np.zeros(task.rounds * size)
        self.by_round: tuple[tuple[float, float], ...] = ()
        self.now = self._standing(self._known.batch())

    @property
    def count(self) -> int:
        """Number of different designs measured so far."""
        return len(self._known.unique)

    def _standing(self, rows: np.ndarray | list[np.ndarray]) -> tuple[float, float]:
        """Return best and median of sequences int8 [n, L] whose scores are known, normalized."""
        raw = np.array([self._score_of[row.tobytes()] for row in rows])
        scaled = (raw - self._low) / (self._high - self._low)
        return float(scaled.max()), float(np.median(scaled))

    def measure(self, designs: np.ndarray) -> np.ndarray:
        """Have the batch measured that is now complete.

        Args:
            designs: int8 [n, L]; its designs that were not measured before, none twice.

        Returns:
            Their scores in units of the offline set, float64 [n].
        """
        score = self._imagined or self._oracle_scores
        designs = designs.reshape(-1, self._task.length)  # all of them may be repeats
        raw = score(designs) if len(designs) else np.zeros(0)
        first = self.count
        for design, value in zip(designs, raw, strict=True):
            self._known.add(design)
            self._score_of[design.tobytes()] = float(value)
        low, high = self._task.scores.min(), self._task.scores.max()
        scores: np.ndarray = (raw - low) / (high - low)
        self.tokens, self.scores = self.tokens.copy(), self.scores.copy()
        self.tokens[first : self.count] = designs
        self.scores[first : self.count] = scores
        self.done += 1
        self.now = self._standing(self._known.batch())
        self.by_round = (*self.by_round, self._standing(self._known.unique or self._known.batch()))
        return scores

    def fork(self) -> Rounds:
        """Return the same measurements, to which others are added."""
        twin = copy.copy(self)
        twin._known, twin._score_of = self._known.fork(), dict(self._score_of)
        return twin

    def imagined(self, rng: np.random.Generator, proxy: Ensemble | None) -> Rounds:
        """Return a copy without the oracle: what it measures is drawn from a proxy's prediction.

        Args:
            rng: draws the errors, the same for the same design.
            proxy: None for one fitted to the offline set and all that was measured.
        """
        twin, seed = self.fork(), int(rng.integers(2**32))
        task = with_measured(seal(self._task), self.tokens[: self.count], self.scores[: self.count])
        low, high = float(self._task.scores.min()), float(self._task.scores.max())
        top = float(task.scores.max())  # of the scale of the proxy's predictions

        def score(designs: np.ndarray) -> np.ndarray:
            fitted = proxy if proxy is not None else reference_proxy(task)
            mean, spread = fitted.predict(designs)
            errors = [
                np.random.default_rng([seed, zlib.crc32(row.tobytes())]).normal() for row in designs
            ]
            high_end = high if proxy is not None else top
            drawn: np.ndarray = low + (mean + spread * np.array(errors)) * (high_end - low)
            return drawn

        twin._task, twin._imagined = seal(self._task), score
        return twin

    def _oracle_scores(self, designs: np.ndarray) -> np.ndarray:
        """Return the oracle's scores float64 [n]; the landscape's worst where it has none."""
        raw = self._problem.open_oracle(self._task).score(designs)
        return np.where(np.isnan(raw), self._low, raw)


def _scores_of(task: DesignTask, rows: np.ndarray) -> dict[bytes, float]:
    """Return the measured scores of offline sequences int8 [n, L], by their bytes."""
    wanted = {row.tobytes() for row in rows}
    found: dict[bytes, float] = {}
    for row in ranked_rows(task):
        key = task.sequences[row].tobytes()
        if key in wanted:
            found.setdefault(key, float(task.scores[row]))
            if len(found) == len(wanted):
                break
    return found


def with_measured(task: DesignTask, tokens: np.ndarray, scores: np.ndarray) -> DesignTask:
    """Return the task of the next batch: a single round, with what was measured in its offline set.

    Args:
        task: sealed.
        tokens: int8 [n, L]; the designs measured.
        scores: float64 [n]; their scores, 0 the offline set's worst and 1 its best.
    """
    known = {row.tobytes() for row in task.sequences} if len(tokens) else set()
    new = np.array([row.tobytes() not in known for row in tokens], np.bool_)
    low, high = task.scores.min(), task.scores.max()
    every = np.concatenate([task.scores, low + scores[new] * (high - low)])
    return task.part(
        sequences=np.concatenate([task.sequences, tokens[new]]),
        scores=every,
        starts=np.argsort(-every, kind="stable")[:START_POOL],
        further_rounds=0,
    )
