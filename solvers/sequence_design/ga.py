"""A genetic algorithm on the proxy: tournaments, uniform crossover, point mutations, elites
(Goldberg 1989, Genetic Algorithms, chapters 3 and 4).
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...methods.sequence_design.genetic import evolve
from ...methods.sequence_design.pool import fit_proxy_in_half_the_time


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Breed from the task's start pool until the budget ends.

    Args:
        instance: the task.
        budget: seconds, of which the proxy's training takes half at most, and evaluations; one
            evaluation is one sequence.
        seed: of all draws.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    proxy = fit_proxy_in_half_the_time(instance, clock, rng)
    return evolve(instance, proxy, instance.sequences[instance.starts], clock, rng)
