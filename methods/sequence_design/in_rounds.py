"""Play sequence design in rounds: before every batch, plan anew with all that was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...core.contracts import Solver
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rounds import with_measured
from ...envs.sequence_design.rules import legal
from .sequences import offspring, random_designs

# k of those that weigh rows by rank; chosen on SIX6, ARX and RNA-A.
FLATNESS = 1e-3
RESERVE = 0.03  # share of the seconds kept for handing in letters
MOST_DRAWS = 100  # times that random designs are drawn to fill a batch


class InRounds:
    """A policy that asks a planner for each batch.

    The planner gets the task of the next batch: what was measured has joined the offline set, so
    whatever it trains is trained anew, and in each round it has an equal part of the seconds that
    are left. As it may name designs that are known already, it is asked for so many more; the first
    new ones are handed in.

    Args:
        plan: a planner of one round.
        flatness: k of `weighted_by_rank`, by which rows are drawn from the second round on; None
            for all rows once.
    """

    def __init__(self, plan: Solver, flatness: float | None = None) -> None:
        self._plan, self._flatness = plan, flatness

    def reset(self, instance: DesignTask, budget: Budget, seed: int) -> None:
        """Begin an episode.

        Args:
            instance: the sealed task, of any number of rounds.
            budget: of all rounds together.
            seed: draws the planners' seeds.
        """
        self._task, self._budget = instance, budget
        self._rng = np.random.default_rng(seed)
        self._letters: list[int] = []  # of the batch under way that are still to be handed in
        self._round, self._spent = 0, 0.0

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any]) -> int:
        """Return the next letter; plan a batch first if none is under way.

        Args:
            observation: of form construct; see the environment.
            info: not used.
        """
        began = time.perf_counter()
        if not self._letters:
            designs = self._next_batch(observation)
            self._letters = designs.ravel()[::-1].astype(np.int64).tolist()
            self._round += 1
        letter = self._letters.pop()
        self._spent += time.perf_counter() - began
        return letter

    def _next_batch(self, observation: Mapping[str, Any]) -> np.ndarray:
        """Return the designs of the next batch, int8 [B, L], none measured before."""
        task = self._task
        tokens, scores = measured_in(task, observation)
        later = with_measured(task, tokens, scores)
        rest = (1.0 - RESERVE) * self._budget.seconds - self._spent
        seconds = max(1e-3, rest / max(1, task.rounds - self._round))
        evaluations = self._budget.evaluations
        share = None if evaluations is None else max(1, evaluations // task.rounds)
        asked = later
        if self._flatness is not None and len(tokens):
            asked = weighted_by_rank(later, self._flatness, self._rng)
        asked = asked.part(batch_size=task.batch_size + len(tokens))
        seed = int(self._rng.integers(2**31))
        found = self._plan(asked, Budget(seconds, share), seed)
        plan = np.asarray(found.actions).reshape(-1, task.length).astype(np.int8)
        return filled(task, plan, tokens, self._rng)


def weighted_by_rank(task: DesignTask, flatness: float, rng: np.random.Generator) -> DesignTask:
    """Return a task whose rows are drawn with replacement, the better ones more often.

    A few dozen designs among thousands of low sequences move a proxy little, though they are what
    is known of the scores to come. In weighted retraining (Tripp et al. 2020, arXiv 2006.09191,
    equation 2) a row of rank r, 0 the best, has the weight 1 / (k N + r).

    Args:
        task: of one round, of N rows.
        flatness: k.
        rng: draws the rows; the worst and the best one are always among them.
    """
    count = len(task.scores)
    ranks = np.empty(count)
    ranks[np.argsort(-task.scores, kind="stable")] = np.arange(count)
    chances = 1.0 / (flatness * count + ranks)
    rows = rng.choice(count, count, p=chances / chances.sum())
    rows[:2] = int(task.scores.argmin()), int(task.scores.argmax())
    return task.part(sequences=task.sequences[rows], scores=task.scores[rows])


def measured_in(task: DesignTask, observation: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return what an observation shows of earlier rounds: designs int8 [n, L], and their scores
    float64 [n], 0 the offline set's worst and 1 its best; none in a task of one round.
    """
    if "measured" not in observation:
        return np.zeros((0, task.length), np.int8), np.zeros(0)
    tokens = np.asarray(observation["measured"], np.int8)
    count = int((tokens[:, 0] < task.letters).sum())
    return tokens[:count], np.asarray(observation["measured_scores"], np.float64)[:count]


def filled(
    task: DesignTask, designs: np.ndarray, measured: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the first new ones of some designs, and random ones where they are too few.

    Args:
        task: gives the batch's size and the rules.
        designs: int8 [n, L], best first.
        measured: int8 [m, L]; designs that are known already.
        rng: draws the random ones, mutants of the designs first.

    Returns:
        int8 [batch_size, L]; without repeats, unless no further designs are found.
    """
    known = {row.tobytes() for row in measured}
    new = {row.tobytes(): row for row in designs if row.tobytes() not in known}
    draws: list[Callable[[], np.ndarray]] = [lambda: random_designs(task, task.batch_size, rng)]
    if len(designs):
        draws.insert(0, lambda: offspring(task, designs, 1.5, rng))
    for draw in draws:
        for _ in range(MOST_DRAWS):
            if len(new) >= task.batch_size:
                break
            drawn = draw()
            for row in drawn[legal(task, drawn)]:
                if row.tobytes() not in known:
                    new.setdefault(row.tobytes(), row)
    rows = [*new.values()]
    while len(rows) < task.batch_size:
        rows.append(rows[-1] if rows else random_designs(task, 1, rng)[0])
    return np.stack(rows[: task.batch_size])
