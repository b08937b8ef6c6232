"""Share a search's simulations among the actions considered at its root."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def visit_plan(most: int, simulations: int) -> np.ndarray:
    """Tabulate sequential halving (Karnin et al. 2013; Danihelka et al. 2022, Algorithm 2).

    Each of the log2(m) rounds shares its simulations evenly among the actions left.

    Args:
        most: the most actions considered at a root.
        simulations: simulations per search.

    Returns:
        int32 [simulations, most + 1]; row s, column m: how often the root action that simulation s
        takes was visited before, if m actions are considered.
    """
    plan = np.zeros((simulations, most + 1), np.int32)
    for m in range(1, most + 1):
        rounds = max(1, int(np.ceil(np.log2(m))))
        left, visits, row = m, 0, 0
        while row < simulations:
            for _ in range(max(1, simulations // (rounds * left))):
                plan[row : row + left, m] = visits
                row += left
                visits += 1
            left = max(min(2, m), left // 2)
    return plan
