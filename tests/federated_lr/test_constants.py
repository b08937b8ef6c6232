"""Fixed rates: they ignore the rates that a federation begins with, and fall as they should."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World as Seed
from sysopt_gym.core.play import Task, play_policy
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Federation, seal
from sysopt_gym.envs.federated_lr.orders import ALPHA, BETA, SERVER, SERVER_RULES, rate_of
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.envs.federated_lr.validate import validate
from sysopt_gym.methods.federated_lr.constants import BEST, CONSTANT, Rates, candidates, train
from sysopt_gym.solvers.federated_lr.best_constant import plan, plan_of_all

World = Callable[..., Federation]
BUDGET = Budget(60.0)


def played(name: str, f: Federation) -> np.ndarray:
    player = load_contender("federated_lr", name).object()
    return play_policy(PROBLEM, player, Task(seal(f), BUDGET, 0, 0)).actions


@pytest.mark.parametrize("name", BEST)
def test_they_ignore_the_initial_rates(world: World, name: str) -> None:
    f = world(rounds=8)
    other = dataclasses.replace(f, alpha=0.01, beta=3.0)
    actions = played(name, f)
    assert np.array_equal(actions, played(name, other))
    assert np.array_equal(actions, BEST[name].plan(8))
    assert set(actions[:, SERVER]) == {SERVER_RULES.index(BEST[name].server)}
    assert (len(np.unique(actions, axis=0)) == 1) is name.endswith("constant")


@pytest.mark.parametrize("name", BEST)
def test_what_was_chosen_is_a_candidate_of_its_kind(name: str) -> None:
    rule = {"fedavg": "average", "fedavgm": "momentum", "fedadam": "adam"}[name.split("_")[0]]
    one = BEST[name]
    assert one in candidates() and one.server == rule
    assert (one.decay == CONSTANT) is name.endswith("constant")


def test_decay_falls_to_nothing_by_the_round_whose_rate_it_is() -> None:
    rounds = 4
    both = Rates("adam", 0.4, 0.8, "linear", both=True).plan(rounds)
    alphas = [rate_of(code, ALPHA_RANGE) for code in both[:, ALPHA].tolist()]
    betas = [rate_of(code, BETA_RANGE) for code in both[:, BETA].tolist()]
    # Step t applies round t and sends its clients' rate to round t + 1.
    assert alphas[1:] == pytest.approx([0.4, 0.3, 0.2, 0.1], rel=1e-5)
    assert betas[:4] == pytest.approx([0.8, 0.6, 0.4, 0.2], rel=1e-5)
    server = Rates("adam", 0.4, 0.8, "linear").plan(rounds)
    assert np.array_equal(server[:, ALPHA], both[:, ALPHA]) and len(set(server[:, BETA])) == 1


@pytest.mark.parametrize("model", ["logistic", "gru"])
def test_training_side_by_side_is_what_the_validator_finds(world: World, model: str) -> None:
    f = world(model, objective="area_under_curve", changes=np.array([0.5]),
              relabel=np.array([[1, 0, 3, 2]]))  # fmt: skip
    plans = [one.plan(f.rounds) for one in candidates()[::29]]
    course = train(f, plans, 3)
    for orders, run in zip(plans, course.accuracies, strict=True):
        found = validate(f, orders, Seed(3))
        assert found.objective == pytest.approx(run.mean())
    hopeless = train(f, [Rates("average", 100.0, 10.0).plan(f.rounds)], 3)
    assert hopeless.steps[0] <= f.rounds and hopeless.accuracies[0, -1] == 0


def test_the_oracle_of_all_is_never_worse_than_any_of_them(world: World) -> None:
    f = world("mlp", 1, rounds=6)
    best = validate(f, plan_of_all(f, BUDGET, Seed(2)).actions, Seed(2)).objective
    assert best >= validate(f, plan(f, BUDGET, Seed(2)).actions, Seed(2)).objective
    for name in BEST:
        assert best >= validate(f, played(name, f), Seed(2)).objective
