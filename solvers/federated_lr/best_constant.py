"""The best fixed rates in hindsight: oracles, not contenders.

The initial rates and every pair of a grid that reaches well beyond the published one are trained in
the judge's own world and scored on the test rows, which no contender can do.

- `best_constant`: averaging at constant rates.
- `best_of_all_constants`: these, and averaging, momentum and FedAdam with and without decay, all
  candidates that the solvers of constants.py were chosen from; some 200 runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.budget import Budget
from ...core.contracts import World
from ...core.solution import Solution
from ...datasets.federated_lr.instance import Federation, terms_of
from ...envs.federated_lr.objective import objective_of, score
from ...envs.federated_lr.orders import constant
from ...methods.federated_lr.constants import Rates, candidates, train

ALPHAS = (0.5, 1.0, 2.0)
BETAS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 1.0, 3.0)
GRID = [Rates("average", alpha, beta) for beta in BETAS for alpha in ALPHAS]


def plan(federation: Federation, budget: Budget, world: World) -> Solution:
    """Train averaging at constant rates in the judge's world and return the best; an Oracle.

    Args:
        federation: with its test rows; a sealed one is scored on validation rows.
        budget: counts evaluations, one a plan; no limit ends the search.
        world: its seed draws participants, batches and first weights, as for the judge.

    Returns:
        The best plan, int64 [T + 1, 5], shorter if its training diverged.
    """
    return _best(federation, budget, world, GRID)


def plan_of_all(federation: Federation, budget: Budget, world: World) -> Solution:
    """Train every candidate in the judge's world and return the best; an Oracle, see `plan`."""
    return _best(federation, budget, world, [*GRID, *candidates()])


def _best(federation: Federation, budget: Budget, world: World, rates: Sequence[Rates]) -> Solution:
    """Return the best of fixed rates and of the initial ones; see `plan`."""
    clock, f = budget.start(), federation
    plans = [constant(terms_of(f)), *(one.plan(f.rounds) for one in rates)]
    runs, steps = train(f, plans, world.seed)
    clock.evaluations += len(plans)
    sign = objective_of(f).sign
    best = int(np.argmin([sign * score(f.objective, run, f.rounds, f.target) for run in runs]))
    return clock.solution(plans[best][: steps[best]])
