"""RNA binding: how well a short RNA pairs with a target of 100 nucleotides, by ViennaRNA (the extra
`rna`), as in FLEXS (Sinai et al. 2020, arXiv 2010.02141). Uses core, numpy, and RNA inside.

The score is the duplex energy over that of the target's perfect complement, scaled by the length.
It is not a maximum: local pairings of more than average strength score above 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...core.errors import MissingDependencyError

ALPHABET = "UGCA"
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


def binding(tokens: np.ndarray, target: int) -> np.ndarray:
    """Scores float64 [n] of tokens [n, L] against TARGETS[target].

    Raises:
        MissingDependencyError: ViennaRNA is not installed.
    """
    vienna, sequence = _vienna(), TARGETS[target]
    best = _perfect(target) * tokens.shape[1] / len(sequence)
    scores = np.empty(len(tokens))
    for row, codes in enumerate(tokens):
        text = "".join(ALPHABET[code] for code in codes)
        scores[row] = -vienna.duplexfold(sequence, text).energy / best
    return scores


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
