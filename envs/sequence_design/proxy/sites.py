"""Site models: proxies for tables of few mutations, additive or with pairs of positions.

Each letter that differs from a center (the wild type, or the commonest letters) has an effect of
its own, and in the pairwise model each pair of such letters has one beside. The effects have normal
priors, which makes both kernel ridge regressions on the number m of changed letters that two
sequences share: additive m, pairwise m + PAIRS m (m - 1) / 2 (as the regressions on one-hot letters
and their pairs of Otwinowski & Nemenman 2013, PLoS ONE 8: e61570, and Poelwijk et al. 2019, Nature
Communications 10: 4213, without spelling the pairs out).
"""

from __future__ import annotations

import copy

import numpy as np
from numba import njit

from ....datasets.sequence_design.instance import DesignTask
from .networks import Activations

LEVEL = 4.0  # prior variance of the center's own score; effects of letters have 1
PAIRS = 0.3  # that of an effect of a pair
RIDGES = (0.1, 0.5, 2.5)  # variances of the noise, of which held-out rows choose
MOST_COUNTED = 2**17  # rows of which the commonest letters are counted
MOST_ROWS = 800  # rows in a regression; half of them the best, the others at random


class SiteModels:
    """E regressions side by side; member e leaves out the rows of fold e.

    Args:
        task: gives the sequences.
        targets: float64 [N]; scores to fit.
        fold: int64 [N].
        members: number of regressions, E.
        pairs: whether pairs of letters have effects.
        ridge: variance of the noise.
        rng: chooses the rows where there are more than MOST_ROWS.

    Attributes:
        weights: one array, float32 [E, n]; weights of the n rows in each regression.
    """

    def __init__(
        self,
        task: DesignTask,
        targets: np.ndarray,
        fold: np.ndarray,
        members: int,
        pairs: bool,
        ridge: float,
        rng: np.random.Generator,
    ) -> None:
        self.pairs, self.letters = pairs, task.letters
        rows = _chosen_rows(targets, rng)
        self.center = _center(task)
        known = np.ascontiguousarray(task.sequences[rows])
        at, self._places = np.nonzero(known != self.center)
        self._changed = known[at, self._places]
        self._starts = np.searchsorted(at, np.arange(len(rows) + 1))
        self._pair = PAIRS if pairs else 0.0
        kernel = self._kernel(self._shared(known))
        self._means = np.empty(members, np.float32)
        weights = np.zeros((members, len(rows)))
        for member in range(members):
            seen = np.flatnonzero(fold[rows] != member)
            if not len(seen):
                seen = np.arange(len(rows))
            mean = float(targets[rows[seen]].mean())
            system = kernel[np.ix_(seen, seen)] + ridge * np.eye(len(seen))
            weights[member, seen] = np.linalg.solve(system, targets[rows[seen]] - mean)
            self._means[member] = mean
        self.weights = [weights.astype(np.float32)]

    @property
    def title(self) -> str:
        """What the kind is called."""
        return "pairwise site model" if self.pairs else "additive site model"

    def _shared(self, tokens: np.ndarray) -> np.ndarray:
        """Count the changed letters that sequences int8 [n, L] share with each row, [n, rows]."""
        counts: np.ndarray = _shared_changes(tokens, self._starts, self._places, self._changed)
        return counts

    def _kernel(self, shared: np.ndarray) -> np.ndarray:
        kernel: np.ndarray = LEVEL + shared + self._pair * shared * (shared - 1.0) / 2.0
        return kernel

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, Activations]:
        """See networks.Members."""
        rows = np.ascontiguousarray(tokens[0])
        values = _weighted(
            rows, self._starts, self._places, self._changed, self.weights[0], self._means,
            np.float32(LEVEL), np.float32(self._pair),
        )  # fmt: skip
        return values, (tokens,)

    def member(self, number: int) -> SiteModels:
        """See networks.Members."""
        alone = copy.copy(self)
        alone.weights = [weights[number : number + 1] for weights in self.weights]
        alone._means = self._means[number : number + 1]
        return alone

    def input_gradients(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See networks.Members."""
        count, length, letters = soft.shape
        hot = np.zeros((len(self._starts) - 1, length * letters), np.float32)
        at = np.repeat(np.arange(len(hot)), np.diff(self._starts))
        hot[at, self._places * letters + self._changed] = 1.0
        shared = soft.reshape(count, -1) @ hot.T
        weights = self.weights[0]
        values = (self._kernel(shared) @ weights.T + self._means).T.astype(np.float32)
        slope = (1.0 + self._pair * (shared - 0.5)).astype(np.float32)
        gradients = (weights[:, None] * slope).reshape(-1, len(hot)) @ hot
        return values, gradients.reshape(len(weights), count, length, letters)


def _center(task: DesignTask) -> np.ndarray:
    """Return the wild type's tokens, or the commonest letter of each position, int8 [L]."""
    if task.wild_type:
        return np.array([task.alphabet.index(letter) for letter in task.wild_type], np.int8)
    known = task.sequences[:: -(-len(task.sequences) // MOST_COUNTED)]
    columns = (np.bincount(column, minlength=task.letters).argmax() for column in known.T)
    return np.array(list(columns), np.int8)


def _chosen_rows(targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = np.argsort(-targets, kind="stable")
    best, rest = order[: MOST_ROWS // 2], order[MOST_ROWS // 2 :]
    rows: np.ndarray = np.concatenate([best, rng.permutation(rest)[: MOST_ROWS - len(best)]])
    return rows


@njit(cache=True)
def _shared_changes(
    tokens: np.ndarray, starts: np.ndarray, places: np.ndarray, letters: np.ndarray
) -> np.ndarray:
    """Count shared letters, float64 [n, rows]: row r has letters[a] at places[a], for a from
    starts[r] up to starts[r + 1].
    """
    counts = np.zeros((len(tokens), len(starts) - 1))
    for lane in range(len(tokens)):
        for row in range(len(starts) - 1):
            for at in range(starts[row], starts[row + 1]):
                counts[lane, row] += tokens[lane, places[at]] == letters[at]
    return counts


@njit(cache=True)
def _weighted(
    tokens: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    letters: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    level: np.float32,
    pair: np.float32,
) -> np.ndarray:
    """Predict row by row in a fixed order, so that a prediction does not depend on its neighbors.

    Args:
        tokens: int8 [n, L].
        starts: see _shared_changes, also for the next two.
        places: positions.
        letters: letters.
        weights: float32 [E, rows].
        means: float32 [E].
        level: LEVEL.
        pair: variance of the effect of a pair.

    Returns:
        float32 [E, n].
    """
    values = np.empty((len(weights), len(tokens)), np.float32)
    half = np.float32(0.5)
    for lane in range(len(tokens)):
        values[:, lane] = means
        for row in range(len(starts) - 1):
            shared = np.float32(0.0)
            for at in range(starts[row], starts[row + 1]):
                if tokens[lane, places[at]] == letters[at]:
                    shared += np.float32(1.0)
            kernel = level + shared + pair * shared * (shared - np.float32(1.0)) * half
            for member in range(len(weights)):
                values[member, lane] += weights[member, row] * kernel
    return values
