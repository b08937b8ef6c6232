"""Fit an oracle to landscapes that are known only by some measured rows, such as avGFP and E4B.

Sequences that were never measured are scored by kernel ridge regression on landmarks, with a kernel
that decays with the number of letters that differ. It has a closed form, so the same input gives
the same output, and it is not a neural network, so it does not favor the proxies, which are.
Measured sequences score as measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import read_file
from ..tables import read_table
from .distances import differences
from .equality import RowIndex

LANDMARKS = 1000
MOST_FITTED = 2**16  # rows that the oracle is fitted to, all of them; of more rows, FEW_FITTED
FEW_FITTED = 2**14
HELD_OUT = 0.1
REACHES = (0.02, 0.05, 0.15)  # shares of L after which the kernel has fallen to 1/e
RIDGES = (1e-3, 1e-1)
SOURCE = "github.com/gitter-lab/nn4dms, data (MIT)"

# Wild types; variants are given as letter, position from 0, letter.
WILD_TYPES = {
    "avgfp": (
        "SKGEELFTGVVPILVELDGDVNGHKFSVSGEGEGDATYGKLTLKFICTTGKLPVPWPTLVTTLSYGVQCFSRYPDHMKQH"
        "DFFKSAMPEGYVQERTIFFKDDGNYKTRAEVKFEGDTLVNRIELKGIDFKEDGNILGHKLEYNYNSHNVYIMADKQKNGI"
        "KVNFKIRHNIEDGSVQLADHYQQNTPIGDGPVLLPDNHYLSTQSALSKDPNEKRDHMVLLEFVTAAGITHGMDELYK"
    ),
    "e4b": (
        "IEKFKLLAEKVEEIVAKNARAEIDYSDAPDEFRDPLMDTLMTDPVRLPSGTVMDRSIILRHLLNSPTDPFNRQMLTESML"
        "EPVPELKEQIQAWMREKQSSDH"
    ),
}
FILES = {"avgfp": "landscapes/proteins/avgfp.tsv.gz", "e4b": "landscapes/proteins/ube4b.tsv.gz"}
STOP = "*"


def protein_variants(name: str, path: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """Read the variants of avgfp or e4b; those with a stop codon are left out.

    After Sarkisyan et al. 2016 (Nature 533) and Starita et al. 2013 (PNAS 110).

    Args:
        name: name of the protein, a key of WILD_TYPES.
        path: its file.

    Returns:
        N sequences, their scores float64 [N], and a name for each row in error messages.

    Raises:
        InstanceError: the file is malformed.
    """
    table = read_table(str(path), read_file(path).text(), ("variant", "score"))
    scores = table.reals("score", -math.inf, math.inf)
    variants = table.texts("variant")
    kept = [row for row, variant in enumerate(variants) if STOP not in variant]
    sequences = []
    for row in kept:
        try:
            sequences.append(_mutated(WILD_TYPES[name], variants[row]))
        except (ValueError, IndexError) as error:
            table.refuse(row, "variant", f"{error}; copy the file again from {SOURCE}")
    return sequences, scores[kept], [f"{path}, variant {row}" for row in range(len(kept))]


def _mutated(wild_type: str, variant: str) -> str:
    letters = list(wild_type)
    for change in variant.split(","):
        place = int(change[1:-1])
        if letters[place] != change[0]:
            raise ValueError(f"{change} in {variant!r} does not fit the wild type")
        letters[place] = change[-1]
    return "".join(letters)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A fitted oracle.

    Attributes:
        landmarks: int8 [m, L]; sequences that the kernel compares with.
        weights: float64 [m]; weight of each landmark.
        mean: mean of the fitted scores, which predictions are relative to.
        reach: number of different letters after which the kernel has fallen to 1/e.
        correlation: Spearman correlation on rows held out while reach and ridge were chosen.
        known: where the measured sequences are.
        scores: float64 [N]; their scores.
    """

    landmarks: np.ndarray
    weights: np.ndarray
    mean: float
    reach: float
    correlation: float
    known: RowIndex
    scores: np.ndarray

    def score(self, tokens: np.ndarray) -> np.ndarray:
        """Score sequences.

        Args:
            tokens: int8 [n, L].

        Returns:
            float64 [n]; the measured score if there is one, else the estimate.
        """
        away = differences(np.ascontiguousarray(tokens), self.landmarks)
        kernel = _decay(away, self.reach)
        scores: np.ndarray = self.mean + kernel @ self.weights
        row = self.known.find(tokens)
        scores[row >= 0] = self.scores[row[row >= 0]]
        return scores


def fit_estimate(sequences: np.ndarray, scores: np.ndarray) -> Estimate:
    """Fit the oracle to measured rows.

    Reach and ridge are those with the best rank correlation on a held-out tenth of the rows. Of
    more than MOST_FITTED rows, FEW_FITTED are drawn to fit to; all score as measured.

    Args:
        sequences: int8 [N, L].
        scores: float64 [N]; measured value of each.
    """
    known, measured = RowIndex.of(sequences), scores
    rng = np.random.default_rng(0)
    if len(sequences) > MOST_FITTED:
        drawn = np.sort(rng.choice(len(sequences), FEW_FITTED, replace=False))
        sequences, scores = sequences[drawn], scores[drawn]
    order = rng.permutation(len(sequences))
    held = order[: max(1, int(HELD_OUT * len(order)))]
    rest = order[len(held) :]
    landmarks = np.ascontiguousarray(sequences[rest[:LANDMARKS]])
    mean = float(scores.mean())
    best = (-np.inf, 1.0, RIDGES[0])
    away = differences(np.ascontiguousarray(sequences), landmarks)
    between = differences(landmarks, landmarks)
    for share in REACHES:
        reach = max(1.0, share * sequences.shape[1])
        seen, unseen, among = (_decay(some, reach) for some in (away[rest], away[held], between))
        gram = seen.T @ seen
        for ridge in RIDGES:
            weights = _solve(seen, gram, among, scores[rest] - mean, ridge)
            found = _rank_correlation(unseen @ weights, scores[held])
            best = max(best, (found, reach, ridge))
    correlation, reach, ridge = best
    every = _decay(away, reach)
    weights = _solve(every, every.T @ every, _decay(between, reach), scores - mean, ridge)
    return Estimate(landmarks, weights, mean, reach, correlation, known, measured)


def _solve(
    kernel: np.ndarray, gram: np.ndarray, among: np.ndarray, values: np.ndarray, ridge: float
) -> np.ndarray:
    """Return the weights of m landmarks, float64 [m] (the subset of regressors).

    Args:
        kernel: float64 [n, m]; kernel between rows and landmarks.
        gram: float64 [m, m]; kernel.T @ kernel.
        among: float64 [m, m]; kernel between landmarks.
        values: float64 [n]; targets of the rows.
        ridge: strength of the regularization.
    """
    system: np.ndarray = gram + ridge * len(kernel) / len(among) * among
    system = system + 1e-9 * float(system.diagonal().mean()) * np.eye(len(system))
    solved: np.ndarray = np.linalg.solve(system, kernel.T @ values)
    return solved


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's correlation, ties broken by order; 0 if one of the two is constant."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    first, second = (np.argsort(np.argsort(values, kind="stable")) for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def _decay(differences: np.ndarray, reach: float) -> np.ndarray:
    """Return the kernel exp(-differences / reach), float64 of the same shape."""
    kernel: np.ndarray = np.exp(-np.arange(int(differences.max(initial=0)) + 1) / reach)[
        differences
    ]
    return kernel
