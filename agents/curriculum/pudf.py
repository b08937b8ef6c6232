"""PUDF: difficulty and ability by item response theory (Meng et al. 2025, arXiv 2408.05326)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Curriculum, Outcome, towards, uniform
from .successes import Plays

MOST_STUDENTS = 32  # iterations, the newest, whose policies are told apart
SWEEPS = 30


@dataclass
class Pudf(Curriculum):
    """Plays the instances that are no harder than the policy is able.

    The policy of each iteration is a student, each instance an item, an episode an answer, right if
    it succeeds (see successes.Plays). P(right) = sigmoid(ability - difficulty), both with a normal
    prior of variance 1, fitted after each iteration. The instances with difficulty <= the newest
    student's ability are played alike; where that has not risen above what counted before, `step`
    is added to it, so that the set grows until it holds all. Until every instance has been played
    `warm_up` times, none is left out (see base.towards). (The paper's students are other models
    that answered beforehand.)

    Attributes:
        step: what is added to an ability that does not rise.
        warm_up: episodes of each instance before any is left out.
    """

    step: float = 0.1
    warm_up: int = 4
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "step": (1e-3, 10.0), "warm_up": (1, 10**4),
    }  # fmt: skip

    def begin(self) -> None:
        """See the base class."""
        self.plays = Plays(len(self.training), MOST_STUDENTS)
        self.ability = -np.inf
        self.chosen = uniform(len(self.training))

    def weights(self) -> np.ndarray:
        """See the base class."""
        return self.chosen

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """See the base class."""
        self.plays.add(outcomes, self.iteration)
        if (self.plays.played < self.warm_up).any():
            self.chosen = towards(self.plays.played, self.warm_up)
            return
        if not outcomes:
            return
        students, items, right = self._answers()
        abilities, difficulties = fit(students, items, right, len(self.training))
        able = float(abilities[-1])
        self.ability = able if able > self.ability else self.ability + self.step
        easy = difficulties <= self.ability
        if not easy.any():
            easy = difficulties == difficulties.min()
        self.chosen = easy / easy.sum()

    def _answers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the answers of the newest students: student and item, int64 [A], right [A]."""
        right, ended = self.plays.succeeded(), self.plays.iterations
        newest = np.unique(ended[ended >= 0])[-MOST_STUDENTS:]
        items, places = np.nonzero(ended >= newest[0])
        students = np.searchsorted(newest, ended[items, places])
        return students, items, right[items, places]


def fit(
    students: np.ndarray, items: np.ndarray, right: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a one-parameter model of item responses: the most likely values under normal priors.

    Newton's steps for all abilities and for all difficulties, in turn; both are concave.

    Args:
        students: int64 [A]; who gave each answer, 0 to S - 1.
        items: int64 [A]; to which item.
        right: float64 [A]; 1 or 0.
        count: items I.

    Returns:
        Abilities, float64 [S], and difficulties, float64 [I]; 0 of an item without an answer.
    """
    abilities, difficulties = np.zeros(int(students.max()) + 1), np.zeros(count)
    for _ in range(SWEEPS):
        for values, of, way in ((abilities, students, 1.0), (difficulties, items, -1.0)):
            chance = 1.0 / (1.0 + np.exp(difficulties[items] - abilities[students]))
            slope = way * np.bincount(of, right - chance, len(values)) - values
            curve = np.bincount(of, chance * (1.0 - chance), len(values)) + 1.0
            values += np.clip(slope / curve, -1.0, 1.0)
    return abilities, difficulties
