"""Count the letters in which sequences differ, of millions of them."""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 128  # letters that are counted in a byte, of which a processor adds up 32 at a time


@njit(cache=True)
def differences(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return in how many letters sequences differ from each of others, uint16 [n, m].

    Args:
        some: int8 [n, L].
        others: int8 [m, L].
    """
    length = some.shape[1]
    counts = np.empty((len(some), len(others)), np.uint16)
    for i in range(len(some)):
        for j in range(len(others)):
            one, other, count = some[i], others[j], 0
            for first in range(0, length, BLOCK):
                few = np.uint8(0)
                for place in range(first, min(first + BLOCK, length)):
                    few += np.uint8(one[place] != other[place])
                count += int(few)
            counts[i, j] = count
    return counts


@njit(cache=True)
def nearest(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the number of letters in which each sequence differs from the nearest of others.

    Args:
        some: int8 [n, L].
        others: int8 [m, L], m at least 1.

    Returns:
        int64 [n].
    """
    # Others in the outer loop, so that each of millions is read from memory once; letters are
    # counted as far as a sequence may still be the nearest.
    length = some.shape[1]
    least = np.full(len(some), length + 1, np.int64)
    for j in range(len(others)):
        other = others[j]
        for i in range(len(some)):
            one, count = some[i], 0
            for first in range(0, length, BLOCK):
                few = np.uint8(0)
                for place in range(first, min(first + BLOCK, length)):
                    few += np.uint8(one[place] != other[place])
                count += int(few)
                if count >= least[i]:
                    break
            least[i] = min(least[i], count)
    return least
