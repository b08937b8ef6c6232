"""The best pair of constant rates in hindsight: a yardstick, not a contender. Uses the dynamics.

The initial rates and every pair of a grid that reaches well beyond the published one are trained in
the judge's own world and measured on the test rows; nobody could have known.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...core.budget import Budget
from ...core.contracts import World
from ...core.solution import Solution
from ...datasets.federated_lr.instance import Federation
from ...envs.federated_lr.env import make_lanes
from ...envs.federated_lr.objective import objective_of, score
from ...envs.federated_lr.orders import order

ALPHAS = (0.5, 1.0, 2.0)
BETAS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 1.0, 3.0)


def plan(federation: Federation, budget: Budget, world: World) -> Solution:
    """The best of the constant plans; an Oracle. One evaluation is one plan."""
    clock = budget.start()
    # The validation rows of a lane are what it reports: here they are the test rows.
    judged = federation
    if len(federation.test_labels):
        judged = dataclasses.replace(
            federation, val_inputs=federation.test_inputs, val_labels=federation.test_labels
        )
    rates = [(federation.alpha, federation.beta)]
    rates += [(alpha, beta) for beta in BETAS for alpha in ALPHAS]
    lanes = make_lanes([judged] * len(rates))
    for lane in range(len(rates)):
        lanes.begin(lane, judged, world.seed)
    orders = np.array([order(*pair) for pair in rates])
    accuracies = np.zeros((federation.rounds, len(rates)))
    going = np.arange(len(rates))
    for step in range(federation.rounds + 1):
        lanes.step(orders[going], going)
        if step:
            accuracies[step - 1, going] = lanes.statistics.validation_accuracy[going]
        going = going[~lanes.statistics.diverged[going]]
    clock.evaluations += len(rates)
    f = federation
    scores = [score(f.objective, column, f.rounds, f.target) for column in accuracies.T]
    way = 1.0 if objective_of(f).direction == "minimize" else -1.0
    best = int(np.argmin(way * np.array(scores)))
    length = f.rounds + 1
    if lanes.statistics.diverged[best]:
        length = int(lanes.statistics.step[best])
    return clock.solution(np.tile(orders[best], (length, 1)))
