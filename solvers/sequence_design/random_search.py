"""Random feasible sequences without a proxy: the baseline that any method must beat.

On landscapes where good sequences are many, the best of a random batch is good, too; so the median
tells methods apart better than the maximum.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...methods.sequence_design.in_rounds import InRounds
from ...methods.sequence_design.pool import hand_in
from ...methods.sequence_design.sequences import random_designs

MOST_DRAWS = 100  # rounds of drawing again what repeats


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Draw a batch of distinct feasible sequences; fewer if MOST_DRAWS rounds find no more.

    Args:
        instance: the design task.
        budget: not spent; no sequence is evaluated.
        seed: draws the sequences and their order.
    """
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


in_rounds = partial(InRounds, solve)
