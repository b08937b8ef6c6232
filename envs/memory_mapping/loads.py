"""Bytes wanted in each instruction: add to a run of instructions, and ask for its sum or largest.

Each takes time logarithmic in the number of instructions, compiled.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def make_sums(instrs: int) -> np.ndarray:
    """Return a load of zeros that `add_to_sums` and `sum_of` take: two Fenwick trees, float64
    [2, I + 2]. Sums of whole numbers below 2**53 are exact.
    """
    return np.zeros((2, instrs + 2))


@njit(cache=True)
def add_to_sums(sums: np.ndarray, first: int, last: int, amount: float) -> None:
    """Add an amount to each of the instructions first..last."""
    for at, change in ((first + 1, amount), (last + 2, -amount)):
        k = at
        while k < sums.shape[1]:
            sums[0, k] += change
            sums[1, k] += change * (at - 1)
            k += k & -k


@njit(cache=True)
def sum_of(sums: np.ndarray, first: int, last: int) -> float:
    """Return the sum over the instructions first..last."""
    found = 0.0
    for end, sign in ((last + 1, 1.0), (first, -1.0)):
        slope, constant, k = 0.0, 0.0, end
        while k > 0:
            slope += sums[0, k]
            constant += sums[1, k]
            k -= k & -k
        found += sign * (slope * end - constant)
    return found


@njit(cache=True)
def make_peaks(instrs: int) -> np.ndarray:
    """Return a load of zeros that `add_to_peaks` and `peak_of` take: a segment tree, int64 [2, 2n].

    Row 0 has the largest load below each node, less what is noted in row 1 at nodes above it.
    """
    leaves = 1
    while leaves < instrs:
        leaves *= 2
    return np.zeros((2, 2 * leaves), np.int64)


@njit(cache=True)
def add_to_peaks(peaks: np.ndarray, first: int, last: int, amount: int) -> None:
    """Add an amount to each of the instructions first..last."""
    leaves = peaks.shape[1] // 2
    low, high = first + leaves, last + leaves + 1
    while low < high:
        if low & 1:
            peaks[:, low] += amount
            low += 1
        if high & 1:
            high -= 1
            peaks[:, high] += amount
        low >>= 1
        high >>= 1
    for end in (first, last):
        node = (end + leaves) >> 1
        while node > 0:
            peaks[0, node] = max(peaks[0, 2 * node], peaks[0, 2 * node + 1]) + peaks[1, node]
            node >>= 1


@njit(cache=True)
def peak_of(peaks: np.ndarray, first: int, last: int) -> int:
    """Return the largest load of the instructions first..last."""
    leaves = peaks.shape[1] // 2
    low, high = first + leaves, last + leaves
    left, right = peaks[0, low], peaks[0, high]
    while low >> 1 != high >> 1:
        if not low & 1:
            left = max(left, peaks[0, low + 1])
        if high & 1:
            right = max(right, peaks[0, high - 1])
        low >>= 1
        high >>= 1
        left += peaks[1, low]
        right += peaks[1, high]
    found = max(left, right)
    while low > 1:
        low >>= 1
        found += peaks[1, low]
    return int(found)
