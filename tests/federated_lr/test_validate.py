"""The independent validator: what it refuses, what it finds, and that it finds it by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World as Seed
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.federated_lr.instance import CURVE, MODELS, Federation, seal, terms_of
from sysopt_gym.datasets.federated_lr.splits import SETS
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.orders import constant, order
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.envs.federated_lr.validate import validate
from sysopt_gym.evaluation.judge import judge

World = Callable[..., Federation]


def random_plan(f: Federation, seed: int) -> np.ndarray:
    """Random orders at any rates, to the end of the episode."""
    env = FederatedLREnv(f, form="orders")
    env.reset(seed=seed)
    env.action_space.seed(seed)
    rows, ended = [], False
    while not ended:
        rows.append(env.action_space.sample())
        if len(rows) % 2:  # most codes are of rules with an unusual tau
            rows[-1][2] = env.np_random.integers(6)
        _, _, ended, _, _ = env.step(rows[-1])
    return np.array(rows)


@pytest.mark.parametrize("model", [model for model in MODELS if model != CURVE])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, deadline=None)
def test_it_agrees_with_the_environment_whatever_the_orders(
    world: World, model: str, seed: int
) -> None:
    f = world(model, stragglers=0.3, drift=1.0, objective="area_under_curve")
    assert judge(PROBLEM, f, random_plan(f, seed), Seed(seed)).feasible


def test_it_agrees_where_a_client_has_no_slope_left_for_d_adaptation_to_start_from() -> None:
    f = SETS.load("small:test")[3]
    assert judge(PROBLEM, f, random_plan(f, 97), Seed(97)).feasible


def test_it_measures_the_test_rows_and_says_what_an_environment_says_of_the_others(
    world: World,
) -> None:
    f = world(rounds=8)
    plan = np.tile(order(1.0, 0.2), (9, 1))
    found = validate(f, plan, Seed(2))
    swapped = dataclasses.replace(
        f, val_inputs=f.test_inputs, val_labels=f.test_labels,
        test_inputs=f.val_inputs, test_labels=f.val_labels,
    )  # fmt: skip
    other = validate(swapped, plan, Seed(2))
    assert (other.objective, other.replayed) == (found.replayed, found.objective)
    assert found.objective != found.replayed, "else this test could not fail"
    hopeless = dataclasses.replace(f, test_labels=(f.test_labels + 1) % 2 + 2)
    assert validate(hopeless, plan, Seed(2)).replayed == found.replayed


def test_the_world_is_the_seeds(world: World) -> None:
    f = world()
    plan = constant(terms_of(f))
    curves = {validate(f, plan, Seed(seed)).detail["area_under_curve"] for seed in range(4)}
    assert len(curves) > 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda plan: plan[:-1], "the plan has 5 orders, of 6 for 5 rounds"),
        (lambda plan: plan[:0], "the plan has 0 orders"),
        (lambda plan: np.vstack([plan, plan[:1]]), "step 7: the episode ended before"),
        (lambda plan: plan[:, :4], r"whole numbers \[steps, 5\], not of shape \(6, 4\)"),
        (lambda plan: plan.ravel(), r"not of shape \(30,\)"),
    ],
)
def test_a_plan_of_another_shape_breaks_the_rules_by_its_step(
    world: World, change: Callable[[np.ndarray], np.ndarray], told: str
) -> None:
    f = world()
    found = judge(PROBLEM, f, change(constant(terms_of(f))), Seed())
    assert not found.feasible and found.agree
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(found.violations[0])


@pytest.mark.parametrize(
    ("column", "code"),
    [(0, 5_000_001), (1, 7_000_001), (2, 48_000_010), (3, 11), (4, 3), (0, -1), (4, -1)],
)
def test_an_order_outside_the_codes_is_named(world: World, column: int, code: int) -> None:
    f = world()
    plan = constant(terms_of(f))
    plan[2, column] = code
    found = judge(PROBLEM, f, plan, Seed())
    assert found.agree and f"step 3: {code} in column {column} is outside" in found.violations[0]


def test_a_plan_that_diverges_ends_there_and_scores_nothing(world: World) -> None:
    f = world(rounds=20, objective="rounds_to_target", target=0.9)
    rows, env, ended = [], FederatedLREnv(f, form="orders"), False
    env.reset(seed=0)
    while not ended:
        rows.append(order(100.0, 10.0))
        _, _, ended, _, _ = env.step(rows[-1])
    assert len(rows) < 21
    found = judge(PROBLEM, f, np.array(rows), Seed(0))
    assert found.feasible and found.objective == 21 and found.detail["diverged"] == 1
    longer = judge(PROBLEM, f, np.array([*rows, rows[0]]), Seed(0))
    assert not longer.feasible and longer.agree


def test_rounds_to_fedavg_are_those_to_the_accuracy_fedavg_ends_with(world: World) -> None:
    f = world(rounds=12, beta=0.2)
    fedavg = constant(terms_of(f))
    found = validate(f, fedavg, Seed(1))
    assert 1 <= found.detail["rounds_to_fedavg"] <= 12
    never = validate(f, np.tile(order(1e-3, 1e-6), (13, 1)), Seed(1))
    assert never.detail["rounds_to_fedavg"] == 13
    assert found.objective > never.objective


def test_rounds_to_fedavg_are_counted_on_test_rows_in_the_same_world(world: World) -> None:
    f = world(rounds=6, beta=0.2)
    counted = set()
    for seed in map(Seed, range(6)):
        reached = validate(f, constant(terms_of(f)), seed).objective
        aims = dataclasses.replace(f, objective="rounds_to_target", target=reached)
        plan = np.tile(order(1.0, 0.1), (7, 1))
        rounds = validate(aims, plan, seed).objective
        assert validate(f, plan, seed).detail["rounds_to_fedavg"] == rounds
        counted.add(rounds)
    assert len(counted) > 2


def test_divergence_in_the_last_round_is_told(world: World) -> None:
    f = world(rounds=4)
    calm = order(1.0, 0.1)
    plan = [calm, calm, calm, order(1.0, 10.0), order(100.0, 0.1)]
    found = validate(f, np.array(plan), Seed(0))
    assert found.feasible and found.objective == 0 and found.detail["diverged"] == 1
    assert validate(f, np.tile(calm, (5, 1)), Seed(0)).detail["diverged"] == 0


def test_a_sealed_federation_cannot_be_judged(world: World) -> None:
    with pytest.raises(InstanceError, match="judge it with its test rows"):
        validate(seal(world()), constant(terms_of(world())), Seed())


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64])
def test_whole_numbers_of_any_width_are_the_same_plan(world: World, kind: Any) -> None:
    f = world()
    plan = constant(terms_of(f))
    assert validate(f, plan.astype(kind), Seed()) == validate(f, plan, Seed())
