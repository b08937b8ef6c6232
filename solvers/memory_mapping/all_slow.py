"""Everything in slow memory: the baseline plan that speed-ups are relative to."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import DROP


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Drop every use.

    Args:
        instance: the program.
        budget: not spent.
        seed: not used; nothing is random.
    """
    return budget.start().solution(np.full(instance.n_decisions, DROP, np.int64))
