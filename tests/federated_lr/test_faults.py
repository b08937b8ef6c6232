"""Faults in the training or the score of the environment are noticed by the judge."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from planted import Case, Fault, check_that_the_judge_notices, plant, wrap
from sysopt_gym.core.contracts import World as Seed
from sysopt_gym.datasets.federated_lr.instance import CURVE, OBJECTIVES, Federation, make_federation
from sysopt_gym.envs.federated_lr import curve, draws, local_rules, objective, server_rules
from sysopt_gym.envs.federated_lr import statistics as stats
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.models import Model
from sysopt_gym.envs.federated_lr.orders import LOCAL_RULES, SERVER_RULES, order

World = Callable[..., Federation]


def played(f: Federation, seed: int, orders: list[np.ndarray]) -> Case:
    """The orders as far as the episode goes."""
    env, rows, ended = FederatedLREnv(f, form="orders"), [], False
    env.reset(seed=seed)
    while not ended:
        rows.append(orders[len(rows)])
        _, _, ended, _, _ = env.step(rows[-1])
    return f, np.array(rows), Seed(seed)


def cases(world: World) -> list[Case]:
    """Every objective and rule, runs that go well and runs that diverge, and a learning curve."""
    made = []
    for seed, name in enumerate(OBJECTIVES):
        f = world("logistic", seed, rounds=12, objective=name, target=0.5, stragglers=0.5)
        pairs = zip(cycle(SERVER_RULES), cycle(LOCAL_RULES), strict=False)
        rules = [order(1.0, 0.2, *pair) for pair in islice(pairs, 13)]
        made += [played(f, seed, rules), played(f, seed, [order(100.0, 10.0)] * 13)]
    law = np.array([0.3, 0.6, 0.5, 0.2, 0.8, 0.5])
    f = make_federation("curve", model=CURVE, rounds=5, law=law)
    return [*made, played(f, 0, [order(1.0, 0.4 / (1 + t)) for t in range(6)])]


def changed_score(change: Callable[[str, np.ndarray], np.ndarray]) -> Fault:
    """The fault of a score of changed accuracies."""
    score = objective.score

    def faulty(name: str, accuracies: np.ndarray, rounds: int, target: float) -> float:
        return score(name, change(name, np.asarray(accuracies)), rounds, target)

    return lambda patch: plant(patch, score, faulty)


def inverted_accuracy(patch: pytest.MonkeyPatch) -> None:
    evaluate = Model.evaluate

    def faulty(self: Model, *rows: Any) -> Any:
        loss, accuracy = evaluate(self, *rows)
        return loss, 1.0 - accuracy

    patch.setattr(Model, "evaluate", faulty)


FAULTS: dict[str, Fault] = {
    "area under the curve without its last round": changed_score(
        lambda name, a: a[:11] if name == "area_under_curve" else a
    ),
    "final accuracy of the round before": changed_score(
        lambda name, a: np.roll(a, 1) if name == "final_accuracy" else a
    ),
    "rounds to the target counted from 0": wrap(objective.first_at, lambda first: first - 1),
    "accuracy is the share of errors": inverted_accuracy,
    "divergence is never found": lambda patch: patch.setattr(stats, "DIVERGED_ABOVE", 1e300),
    "every participant does all steps": wrap(
        draws.draw_rounds, lambda drawn: drawn._replace(steps=np.full_like(drawn.steps, 4))
    ),
    "the first model is zero": wrap(draws.first_weights, np.zeros_like),
    "the server moves uphill": wrap(server_rules.server_step, lambda step: -step),
    "FedHyper's clients keep their rate": lambda patch: patch.setitem(
        local_rules._RULES, "fedhyper", local_rules._sgd
    ),
    "a learning curve without its floor": wrap(curve.losses_of, lambda losses: losses - 0.01),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_training_or_the_score_is_noticed(world: World, fault: str) -> None:
    check_that_the_judge_notices("federated_lr", cases(world), FAULTS[fault])
