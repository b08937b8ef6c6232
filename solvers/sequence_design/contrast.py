"""A genetic algorithm on a proxy that also learns from what the offline set lacks.

An offline set that was cut at a score differs from random sequences: words that these have and the
lowest rows have not belong to high scores. Ridge regression on counts of gapped k-mers
(methods/sequence_design/kmers.py), standardized over random sequences, tells the two apart, in
closed form; as logistic regression would, by which Gutmann & Hyvärinen 2010 (Noise-contrastive
estimation, AISTATS) estimate the ratio of two densities. Its values are averaged with the
predictions of the ensemble that `ga` searches.

It is for four letters, and for offline sets that are a cut of all sequences: those of variants of a
few sequences differ from random ones by whatever these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.budget import Budget
from ...core.notes import note
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.proxy import Ensemble
from ...envs.sequence_design.rules import starting_designs
from ...methods.sequence_design.genetic import evolve
from ...methods.sequence_design.kmers import LETTERS, SPAN, Words, count, total, words
from ...methods.sequence_design.pool import Predictor, fit_proxy_in_half_the_time

RANDOM = 8192  # random sequences
MOST_ROWS = 8192  # rows of the offline set, drawn if there are more
RIDGE = 1.0  # of standardized features
# Of the ensemble in a value; chosen, as RIDGE and the words, on factors that docs name.
SHARE = 0.4
LEAST_SPREAD = 0.7  # of the letters of a cut of all sequences, see `spread`
PAIRED = ("ACGT", "UGCA")  # orders of letters in which letter v pairs with letter 3 - v


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """A fitted regression.

    Attributes:
        words: the words that count.
        weights: float64 [p]; of each.
        mean: value of random sequences, on average.
        deviation: standard deviation of these values.
    """

    words: Words
    weights: np.ndarray
    mean: float
    deviation: float

    def values(self, tokens: np.ndarray) -> np.ndarray:
        """Value sequences int8 [n, L], float64 [n]; standardized over random sequences."""
        found = total(tokens, self.words, self.weights)
        standardized: np.ndarray = (found - self.mean) / self.deviation
        return standardized


def fit_contrast(task: DesignTask, rng: np.random.Generator) -> Contrast:
    """Tell a task's offline set from random sequences.

    Args:
        task: sealed or not, of four letters; its hidden rows are not used.
        rng: draws the random sequences, and rows of large offline sets.
    """
    counted = words(both_strands(task))
    drawn = rng.integers(0, LETTERS, (RANDOM, task.length)).astype(np.int8)
    random = count(drawn, counted)
    mean, deviation = random.mean(axis=0), np.maximum(random.std(axis=0), 1e-3)
    random = (random - mean) / deviation
    rows = rng.permutation(len(task.sequences))[:MOST_ROWS]
    shown = (count(task.sequences[rows], counted) - mean) / deviation
    products = (random.T @ random / len(random) + shown.T @ shown / len(shown)) / 2.0
    system = products.astype(np.float64) + RIDGE * np.eye(len(mean))
    weights = np.linalg.solve(system, -shown.mean(axis=0, dtype=np.float64)) / deviation
    values = total(drawn, counted, weights)
    return Contrast(counted, weights, float(values.mean()), max(float(values.std()), 1e-9))


@dataclass(frozen=True, slots=True, eq=False)
class Contrasted:
    """An ensemble and a contrast, averaged in standard deviations over random sequences.

    Attributes:
        ensemble: trained on the task's scores.
        contrast: fitted to its sequences.
        mean: of the ensemble's normal scores over random sequences.
        deviation: their standard deviation.
    """

    ensemble: Ensemble
    contrast: Contrast
    mean: float
    deviation: float

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values and distances of the two parts, float64 [n] each, for int8 [n, L].

        Values rank designs, and are on no scale of the task's scores.
        """
        scores = self.ensemble.predict_members(tokens) @ self.ensemble.weights
        own, other = (scores - self.mean) / self.deviation, self.contrast.values(tokens)
        return SHARE * own + (1.0 - SHARE) * other, np.abs(own - other)


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run the genetic algorithm of `ga` on the ensemble and the contrast.

    Args:
        instance: the sealed task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training, the populations, and their breeding.

    Returns:
        The best batch met, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    why = why_not(instance)
    proxy: Predictor
    if why:
        note(f"{instance.name}: {why}; the proxy learns from the scores alone")
        proxy = fit_proxy_in_half_the_time(instance, clock, rng)
    else:
        contrast = fit_contrast(instance, np.random.default_rng(seed))
        ensemble = fit_proxy_in_half_the_time(instance, clock, rng)
        drawn = np.random.default_rng(seed).integers(0, LETTERS, (MOST_ROWS, instance.length))
        own = ensemble.predict_members(drawn.astype(np.int8)) @ ensemble.weights
        proxy = Contrasted(ensemble, contrast, float(own.mean()), max(float(own.std()), 1e-9))
    return evolve(instance, proxy, starting_designs(instance), clock, rng)


def why_not(task: DesignTask) -> str:
    """Return why a task gets no contrast; empty if it gets one."""
    if task.letters != LETTERS or task.length < SPAN:
        return f"contrasts are for {LETTERS} letters and sequences of {SPAN} or more"
    if spread(task) < LEAST_SPREAD:
        return "the measured sequences are variants of few, not a cut of all sequences"
    return ""


def spread(task: DesignTask) -> float:
    """Return the entropy of the letters at a position, as a share of the largest, on average."""
    shares = []
    for column in task.sequences.T:
        chances = np.bincount(column, minlength=task.letters) / len(column)
        chances = chances[chances > 0]
        shares.append(-(chances * np.log(chances)).sum() / np.log(task.letters))
    return float(np.mean(shares))


def both_strands(task: DesignTask) -> bool:
    """Return whether most measured sequences of DNA are measured as reverse complements, too."""
    if task.alphabet not in PAIRED:
        return False
    every = {row.tobytes() for row in task.sequences}
    some = task.sequences[:: max(1, len(task.sequences) // 1000)]
    others = (LETTERS - 1 - some[:, ::-1]).astype(np.int8)
    return sum(row.tobytes() in every for row in others) > 0.5 * len(some)
