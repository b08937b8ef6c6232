"""The potential of a host: how well its free cores can serve what arrives, as weighted features.

A request goes where the potential falls least. The features are those of a host's two NUMA nodes
with free cores a and b: whole slots of 4 to 32 cores, what is left beside them, and whether the
nodes are full, empty or alike.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FEATURES = (
    "slots_32", "slots_16", "slots_8", "slots_4",  # of each node, summed; so down to `nearly_all`
    "beside_16", "beside_8",  # (x mod 16) / 16, (x mod 8) / 8
    "full", "all_free", "nearly_all",  # x = 0, x = 44, x >= 40
    "both_32", "both_16", "both_8", "both_4",  # of the lesser of the two
    "both_empty", "both_large", "used_square", "unlike", "alike", "any_16", "product",
)  # fmt: skip
NODE_CORES = 44.0  # of the hosts that weights are for; others are scaled to it where it counts


@njit(cache=True)
def features(a: float, b: float, size: float, out: np.ndarray) -> None:
    """Write the features of a host.

    Args:
        a: free cores of the first node.
        b: free cores of the second node, 0 if there is none.
        size: cores of the larger node.
        out: float64 [20], written to.
    """
    out[:] = 0.0
    for x in (a, b):
        out[0] += x // 32.0
        out[1] += x // 16.0
        out[2] += x // 8.0
        out[3] += x // 4.0
        out[4] += (x % 16.0) / 16.0
        out[5] += (x % 8.0) / 8.0
        out[6] += x < 1.0
        out[7] += x >= size
        out[8] += x >= size - 4.0
    least = min(a, b)
    out[9], out[10], out[11], out[12] = least // 32.0, least // 16.0, least // 8.0, least // 4.0
    out[13] = a >= size and b >= size
    out[14] = least >= 32.0
    out[15] = ((a + b) / (2.0 * size)) ** 2
    out[16] = abs(a - b) / size
    out[17] = a == b
    out[18] = a >= 16.0 or b >= 16.0
    out[19] = a * b / size**2


@njit(cache=True)
def table_of(weights: np.ndarray, size: int) -> np.ndarray:
    """Return the potential of each state of a host of two equal nodes, float64 [size+1, size+1].

    Args:
        weights: float64 [20], by FEATURES.
        size: cores of a node.
    """
    table = np.empty((size + 1, size + 1))
    row = np.empty(len(weights))
    for a in range(size + 1):
        for b in range(size + 1):
            features(float(a), float(b), float(size), row)
            table[a, b] = (row * weights).sum()
    return table


@njit(cache=True)
def potentials(
    weights: np.ndarray, free: np.ndarray, size: np.ndarray, core: float, out: np.ndarray
) -> None:
    """Write the potential of hosts.

    Args:
        weights: float64 [20], by FEATURES.
        free: free CPU of both nodes, int64 [n, 2], in 1/core cores.
        size: cores of the larger node of each host, float64 [n].
        core: units of CPU in a core.
        out: float64 [n], written to.
    """
    row = np.empty(len(weights))
    for i in range(len(free)):
        features(free[i, 0] / core, free[i, 1] / core, size[i], row)
        out[i] = (row * weights).sum()
