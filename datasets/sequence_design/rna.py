"""RNA binding: how well an RNA pairs with targets of 100 nucleotides, by ViennaRNA (the extra
`rna`), as in FLEXS (Sinai et al. 2020, arXiv 2010.02141).

The score is the duplex energy over that of the target's perfect complement, scaled by the length,
and of several targets the mean. It is not a maximum: local pairings of more than average strength
score above 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...core.errors import MissingDependencyError

ALPHABET = "UGCA"
MOST_KEPT = 2**16  # energies; the judge and the report's pictures come back to the same designs
# FLEXS's hidden targets 1 to 3; tasks RNA-A, -B and -C are L14_RNA1, L14_RNA2 and L14_RNA3.
TARGETS = (
    "GAACGAGGCACAUUCCGGCUCGCCCGGCCCAUGUGAGCAUGGGCCGGACC"
    "CCGUCCGCGCGGGGCCCCCGCGCGGACGGGGGCGAGCCGGAAUGUGCCUC",
    "GAGGCACAUUCCGGCUCGCCCCCGUCCGCGCGGGGGCCCCGCGCGGACGG"
    "GGUCCGGCCCGCGCGGGGCCCCCGCGCGGGAGCCGGAAUGUGCCUCGUUC",
    "CCGGUGAUACUGUUAGUGGUCACGGUGCAUUUAUAGCGCUAAAGUACAGU"
    "CUUCCCCUGUUGAACGGCGCCAUUGCAUACAGGGCCAGCCGCGUAACGCC",
)
_COMPLEMENT = str.maketrans("ACGU", "UGCA")


@dataclass(frozen=True, slots=True)
class Region:
    """Letters that must stand from a position on; sequences without them score 0."""

    start: int
    pattern: str


CONSERVED = Region(21, "GCCCGGCCCAUGUGAGCAUG")  # of FLEXS's problems C20_L100


def binding(
    tokens: np.ndarray, targets: Sequence[int], conserved: Region | None = None
) -> np.ndarray:
    """Scores float64 [n] of tokens [n, L]: the mean over these of TARGETS.

    Raises:
        MissingDependencyError: ViennaRNA is not installed.
    """
    length = tokens.shape[1]
    best = [_perfect(target) * length / len(TARGETS[target]) for target in targets]
    scores = np.zeros(len(tokens))
    for row, codes in enumerate(tokens):
        text = "".join(ALPHABET[code] for code in codes)
        if conserved is None or text.startswith(conserved.pattern, conserved.start):
            energies = [_energy(target, text) for target in targets]
            scores[row] = np.mean([-e / b for e, b in zip(energies, best, strict=True)])
    return scores


@lru_cache(MOST_KEPT)
def _energy(target: int, text: str) -> float:
    """Energy of a sequence bound to a target, kcal/mol."""
    return float(_vienna().duplexfold(TARGETS[target], text).energy)


@lru_cache
def _perfect(target: int) -> float:
    """Energy of the target bound to its reverse complement, sign turned, kcal/mol."""
    sequence = TARGETS[target]
    return -float(_vienna().duplexfold(sequence.translate(_COMPLEMENT)[::-1], sequence).energy)


def _vienna() -> Any:
    try:
        import RNA
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "the RNA landscapes need ViennaRNA; pip install 'sysopt-gym[rna]'"
        ) from error
    return RNA
