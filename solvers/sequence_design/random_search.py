"""Random feasible sequences, no proxy: the least that any method must beat.

On landscapes where good sequences are many, the best of a random batch is good, too; so the median
is what tells methods apart.
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...methods.sequence_design.pool import hand_in
from ...methods.sequence_design.sequences import random_designs

MOST_DRAWS = 100


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Draws a batch of different sequences."""
    clock = budget.start()
    rng = np.random.default_rng(seed)
    designs = random_designs(instance, instance.batch_size, rng)
    for _ in range(MOST_DRAWS):
        designs = np.unique(designs, axis=0)
        if len(designs) == instance.batch_size:
            break
        missing = instance.batch_size - len(designs)
        designs = np.concatenate([designs, random_designs(instance, missing, rng)])
    return hand_in(instance, rng.permutation(np.unique(designs, axis=0)), clock)
