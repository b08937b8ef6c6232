"""A genetic algorithm on a proxy: tournaments, uniform crossover, point mutations, elites.

After Goldberg 1989, Genetic Algorithms, chapters 3 and 4.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import starting_designs
from ...methods.sequence_design.genetic import evolve
from ...methods.sequence_design.in_rounds import FLATNESS, InRounds
from ...methods.sequence_design.pool import fit_proxy_in_half_the_time


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run a genetic algorithm (Goldberg 1989, chapters 3 and 4) on a proxy until the budget ends.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training, the populations, and their breeding.

    Returns:
        The best batch met, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    proxy = fit_proxy_in_half_the_time(instance, clock, rng)
    return evolve(instance, proxy, starting_designs(instance), clock, rng)


in_rounds = partial(InRounds, solve)
in_rounds_weighted = partial(InRounds, solve, FLATNESS)
