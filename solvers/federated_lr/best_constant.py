"""The best pair of constant rates in hindsight: an oracle, not a contender.

The initial rates and every pair of a grid that reaches well beyond the published one are trained in
the judge's own world and scored on the test rows, which no contender can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.budget import Budget
from ...core.contracts import World
from ...core.solution import Solution
from ...datasets.federated_lr.instance import CURVE, Federation
from ...envs.federated_lr.dynamics import make_dynamics
from ...envs.federated_lr.objective import objective_of, score
from ...envs.federated_lr.orders import order
from ...envs.federated_lr.statistics import DIVERGED_ABOVE

ALPHAS = (0.5, 1.0, 2.0)
BETAS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 1.0, 3.0)


def plan(federation: Federation, budget: Budget, world: World) -> Solution:
    """Train every constant plan in the judge's world and return the best; an Oracle.

    Args:
        federation: with its test rows; a sealed one is scored on validation rows.
        budget: counts evaluations, one a plan; no limit ends the search.
        world: its seed draws participants, batches and first weights, as for the judge.

    Returns:
        The best plan, int64 [T + 1, 5], shorter if its training diverged.
    """
    clock = budget.start()
    rates = [(federation.alpha, federation.beta)]
    rates += [(alpha, beta) for beta in BETAS for alpha in ALPHAS]
    lanes = make_dynamics([federation] * len(rates))
    for lane in range(len(rates)):
        lanes.begin(lane, federation, world.seed)
    orders = np.array([order(*pair) for pair in rates])
    accuracies = np.zeros((federation.rounds, len(rates)))
    going = np.arange(len(rates))
    for step in range(federation.rounds + 1):
        lanes.step(orders[going], going)
        if step:
            accuracies[step - 1, going] = _test_accuracies(lanes, federation, going)
        going = going[~lanes.statistics.diverged[going]]
    clock.evaluations += len(rates)
    f = federation
    scores = [score(f.objective, column, f.rounds, f.target) for column in accuracies.T]
    sign = objective_of(f).sign
    best = int(np.argmin(sign * np.array(scores)))
    length = f.rounds + 1
    if lanes.statistics.diverged[best]:
        length = int(lanes.statistics.step[best])
    return clock.solution(np.tile(orders[best], (length, 1)))


def _test_accuracies(lanes: Any, f: Federation, going: np.ndarray) -> np.ndarray:
    """Measure test accuracies of the lanes int64 [n], float64 [n]; 0 for a diverged model."""
    if f.model == CURVE or f.sealed:
        accuracy: np.ndarray = lanes.statistics.validation_accuracy[going]
        return accuracy
    s = lanes.statistics
    lost = s.diverged[going] & (s.validation_loss[going] >= DIVERGED_ABOVE * s.initial_loss[going])
    return np.where(lost, 0.0, lanes.accuracies(f.test_inputs, f.test_labels, going))
