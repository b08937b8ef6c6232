"""The yardstick of constant rates in hindsight: it is what it claims, and out of competition."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from result_rows import make_row
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Contender
from sysopt_gym.core.contracts import World as Seed
from sysopt_gym.core.play import Task, run
from sysopt_gym.datasets.federated_lr.instance import (
    CURVE,
    Federation,
    Terms,
    make_federation,
    terms_of,
)
from sysopt_gym.envs.federated_lr.orders import constant, order
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.evaluation.judge import judge
from sysopt_gym.evaluation.statistics import standings
from sysopt_gym.evaluation.table import score
from sysopt_gym.solvers.federated_lr.best_constant import ALPHAS, BETAS, plan

World = Callable[..., Federation]
BUDGET = Budget(30.0)


def judged(f: Federation, actions: np.ndarray, seed: int) -> float:
    found = judge(PROBLEM, f, actions, Seed(seed))
    assert found.feasible, found.violations
    return found.objective


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_in_the_judges_world_it_is_never_worse_than_fedavg_or_any_pair_of_its_grid(
    world: World, model: str, seed: int
) -> None:
    f = world(model, seed, beta=0.002)
    actions = plan(f, BUDGET, Seed(seed)).actions
    best = judged(f, actions, seed)
    assert best >= judged(f, constant(terms_of(f)), seed)
    rng = np.random.default_rng(seed)
    for alpha, beta in zip(rng.choice(ALPHAS, 3), rng.choice(BETAS[:-2], 3), strict=True):
        others = np.tile(order(float(alpha), float(beta)), (f.rounds + 1, 1))
        assert best >= judged(f, others, seed)


def test_its_plan_is_one_order_all_along(world: World) -> None:
    actions = plan(world(), BUDGET, Seed(1)).actions
    assert len(np.unique(actions, axis=0)) == 1


def test_rounds_to_a_target_are_minimized(world: World) -> None:
    f = world(objective="rounds_to_target", target=0.5, beta=1e-4)
    best = judged(f, plan(f, BUDGET, Seed(0)).actions, 0)
    assert best < judged(f, constant(terms_of(f)), 0) == f.rounds + 1


def test_divergence_is_a_matter_of_validation_rows_for_it_as_for_the_judge(world: World) -> None:
    f = world(rounds=3)
    # Rows to validate on that no rate does well on: wherever anything is learned, loss is huge.
    far = dataclasses.replace(
        f, val_inputs=f.val_inputs * 1e4, val_labels=(f.val_labels + 1) % f.classes
    )
    for seed in range(3):
        judged(far, plan(far, BUDGET, Seed(seed)).actions, seed)


def test_of_a_curve_it_is_the_best_constant_too() -> None:
    law = np.array([0.3, 0.6, 0.5, 0.05, 0.8, 0.5])
    f = make_federation("curve", model=CURVE, rounds=8, law=law, beta=0.002)
    assert judged(f, plan(f, BUDGET, Seed(0)).actions, 0) > judged(f, constant(terms_of(f)), 0)


def test_an_oracle_has_no_rank_and_is_not_the_best_whatever_it_gets() -> None:
    best = make_row("best_constant", objective=0.9, direction="maximize", role="oracle")
    rows, _ = score([best, make_row("fedavg", objective=0.7, direction="maximize")])
    assert [one.best for one in rows] == [0.7, 0.7]
    first, last = standings(rows, "fedavg")
    assert (first.contender, last.contender) == ("fedavg", "best_constant")
    assert first.rank.value == 1 and np.isnan(last.rank.value)


class Spy:
    """A controller that remembers all that it is told."""

    told: list[Any] = []  # noqa: RUF012 (of all instances)

    def reset(self, told: Any, budget: Budget, seed: int) -> None:
        self.told.append(told)

    def act(self, observation: Any, info: Any) -> np.ndarray:
        self.told.append(info)
        assert set(observation) == {"rounds"}
        return order(1.0, 0.05)


def test_a_policy_is_told_the_terms_and_plain_numbers_and_sees_no_data(world: World) -> None:
    task = Task(PROBLEM.contender_view(world()), BUDGET, seed=3, world_seed=12345)
    run(Contender("federated_lr", "spy", "solver", "player", Spy), PROBLEM, task)
    terms, *infos = Spy.told
    assert isinstance(terms, Terms) and len(infos) == world().rounds + 1
    values = [*dataclasses.asdict(terms).values(), *(v for info in infos for v in info.values())]
    assert all(type(value) in (int, float, bool) for value in values)
    assert 12345 not in values, "the world's seed is the judge's"
