"""Gapped k-mers: how often each short word, with gaps or without, stands in a sequence.

After Ghandi et al. 2014, Enhanced regulatory sequence prediction using gapped k-mer features, PLoS
Computational Biology 10: e1003711. A word on one strand of DNA is its reverse complement on the
other; where both strands are one molecule, the two are one feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

LETTERS = 4  # of DNA and RNA; letter v pairs with letter 3 - v
# Positions of a word's letters, from its first.
PATTERNS = (
    (0, 1, 2), (0, 1, 3), (0, 2, 3), (0, 1, 4), (0, 2, 4), (0, 3, 4), (0, 1, 2, 3), (0, 1, 3, 4),
)  # fmt: skip
LONGEST = max(map(len, PATTERNS))
SPAN = 1 + max(places[-1] for places in PATTERNS)  # letters from the first of a word to its last


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The words that are counted.

    Attributes:
        columns: int64 [PATTERNS, LETTERS ** LONGEST]; pattern and code of a word -> its feature.
        number: of features, p.
    """

    columns: np.ndarray
    number: int


@lru_cache
def words(both_strands: bool) -> Words:
    """Number the words.

    Args:
        both_strands: whether a word and its reverse complement are one feature.
    """
    columns = np.full((len(PATTERNS), LETTERS**LONGEST), -1, np.int64)
    found = 0
    for number, places in enumerate(PATTERNS):
        size = len(places)
        mirror = PATTERNS.index(tuple(places[-1] - place for place in reversed(places)))
        for code in range(LETTERS**size):
            if columns[number, code] >= 0:
                continue
            columns[number, code] = found
            if both_strands:
                columns[mirror, _paired(code, size)] = found
            found += 1
    columns.setflags(write=False)
    return Words(columns, found)


def _paired(code: int, size: int) -> int:
    """Return the code of a word's reverse complement."""
    found = 0
    for _ in range(size):
        found = found * LETTERS + LETTERS - 1 - code % LETTERS
        code //= LETTERS
    return found


SIZES = np.array([len(places) for places in PATTERNS])
PLACES = np.array([[*places, *[0] * (LONGEST - len(places))] for places in PATTERNS])


def count(tokens: np.ndarray, counted: Words) -> np.ndarray:
    """Count words, float32 [n, p].

    Args:
        tokens: int8 [n, L]; letters 0 to 3.
        counted: the words.
    """
    found = np.zeros((len(tokens), counted.number), np.float32)
    _count(np.ascontiguousarray(tokens, np.int8), counted.columns, SIZES, PLACES, found)
    return found


def total(tokens: np.ndarray, counted: Words, weights: np.ndarray) -> np.ndarray:
    """Add up the weights of the words in sequences, row by row, float64 [n].

    Args:
        tokens: int8 [n, L]; letters 0 to 3.
        counted: the words.
        weights: float64 [p].
    """
    table = weights[np.maximum(counted.columns, 0)]
    found: np.ndarray = _total(np.ascontiguousarray(tokens, np.int8), table, SIZES, PLACES)
    return found


@njit(cache=True, inline="always")
def _code(sequence: np.ndarray, start: int, places: np.ndarray, size: int) -> int:
    code = 0
    for at in range(size):
        code = code * 4 + sequence[start + places[at]]
    return code


@njit(cache=True)
def _count(
    tokens: np.ndarray,
    columns: np.ndarray,
    sizes: np.ndarray,
    places: np.ndarray,
    found: np.ndarray,
) -> None:
    """Add the counts of words to `found`, float32 [n, p]; see `count`."""
    for row in range(len(tokens)):
        for pattern in range(len(sizes)):
            span = places[pattern, sizes[pattern] - 1]
            for start in range(tokens.shape[1] - span):
                code = _code(tokens[row], start, places[pattern], sizes[pattern])
                found[row, columns[pattern, code]] += np.float32(1.0)


@njit(cache=True)
def _total(
    tokens: np.ndarray, table: np.ndarray, sizes: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Add up weights, float64 [PATTERNS, codes], of the words in sequences; see `total`."""
    sums = np.zeros(len(tokens))
    for row in range(len(tokens)):
        for pattern in range(len(sizes)):
            span = places[pattern, sizes[pattern] - 1]
            for start in range(tokens.shape[1] - span):
                code = _code(tokens[row], start, places[pattern], sizes[pattern])
                sums[row] += table[pattern, code]
    return sums
