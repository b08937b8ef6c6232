"""Everything in slow memory: the plan that speed-ups are relative to."""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import DROP


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Drops at every decision."""
    return budget.start().solution(np.full(instance.n_decisions, DROP, np.int64))
