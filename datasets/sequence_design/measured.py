"""Landscapes known by some measured rows alone: the avGFP and E4B data, and the oracle that
estimates what was never measured.

The estimate is kernel ridge regression with a kernel that decays with the number of letters that
differ, on landmarks, in closed form: the same input always gives the same output, and it is not of
the kind the proxies are (networks), which it would flatter otherwise. What was measured scores as
measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from ..files import read_file, read_table

LANDMARKS = 1000
HELD_OUT = 0.1
REACHES = (0.02, 0.05, 0.15)  # of the length: the differences after which the kernel falls to 1/e
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
    """Read the variants of avgfp (Sarkisyan et al. 2016, Nature 533) or e4b (Starita et al. 2013,
    PNAS 110). Variants with a stop codon are left out.

    Args:
        name: of the protein, a key of WILD_TYPES.
        path: its file.

    Returns:
        Sequences, scores float64 [N], and a name for each row in refusals.

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
        landmarks: int8 [m, L].
        weights: float64 [m].
        mean: what is added.
        reach: the kernel's reach, letters.
        correlation: Spearman's on rows held out while reach and ridge were chosen.
        known: measured scores by the sequence's bytes.
    """

    landmarks: np.ndarray
    weights: np.ndarray
    mean: float
    reach: float
    correlation: float
    known: dict[bytes, float]

    def score(self, tokens: np.ndarray) -> np.ndarray:
        """Scores float64 [n] of tokens int8 [n, L]."""
        kernel = _kernel(np.ascontiguousarray(tokens), self.landmarks, self.reach)
        scores: np.ndarray = self.mean + kernel @ self.weights
        for row, codes in enumerate(tokens):
            scores[row] = self.known.get(codes.tobytes(), scores[row])
        return scores


def fit_estimate(sequences: np.ndarray, scores: np.ndarray) -> Estimate:
    """Fits the oracle to measured rows int8 [N, L], float64 [N]; reach and ridge are those that
    predict a tenth of the rows best.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(sequences))
    held = order[: max(1, int(HELD_OUT * len(order)))]
    rest = order[len(held) :]
    landmarks = np.ascontiguousarray(sequences[rest[:LANDMARKS]])
    mean = float(scores.mean())
    best = (-np.inf, 1.0, RIDGES[0])
    for share in REACHES:
        reach = max(1.0, share * sequences.shape[1])
        seen = _kernel(np.ascontiguousarray(sequences[rest]), landmarks, reach)
        unseen = _kernel(np.ascontiguousarray(sequences[held]), landmarks, reach)
        among = _kernel(landmarks, landmarks, reach)
        for ridge in RIDGES:
            weights = _solve(seen, among, scores[rest] - mean, ridge)
            found = _rank_correlation(unseen @ weights, scores[held])
            best = max(best, (found, reach, ridge))
    correlation, reach, ridge = best
    every = _kernel(np.ascontiguousarray(sequences), landmarks, reach)
    weights = _solve(every, _kernel(landmarks, landmarks, reach), scores - mean, ridge)
    known = {codes.tobytes(): float(s) for codes, s in zip(sequences, scores, strict=True)}
    return Estimate(landmarks, weights, mean, reach, correlation, known)


def _solve(kernel: np.ndarray, among: np.ndarray, values: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of the landmarks (the subset of regressors)."""
    system: np.ndarray = kernel.T @ kernel + ridge * len(kernel) / len(among) * among
    system = system + 1e-9 * float(system.diagonal().mean()) * np.eye(len(system))
    solved: np.ndarray = np.linalg.solve(system, kernel.T @ values)
    return solved


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, ties broken by order; 0 where one is constant."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    first, second = (np.argsort(np.argsort(values, kind="stable")) for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


@njit(cache=True)
def _kernel(one: np.ndarray, other: np.ndarray, reach: float) -> np.ndarray:
    """exp(-differences / reach) between tokens [n, L] and [m, L]."""
    length = one.shape[1]
    table = np.exp(-np.arange(length + 1) / reach)
    kernel = np.empty((len(one), len(other)))
    for i in range(len(one)):
        for j in range(len(other)):
            differences = 0
            for place in range(length):
                differences += one[i, place] != other[j, place]
            kernel[i, j] = table[differences]
    return kernel
