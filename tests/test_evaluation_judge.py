"""The judge: replay and validation must agree, and neither is trusted alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import toy_family
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Verdict, World
from sysopt_gym.core.solution import Incumbent
from sysopt_gym.evaluation.judge import (
    CURVE_POINTS,
    anytime_curve,
    judge,
    null_objective,
    world_seed,
)

PROBLEM = toy_family.PROBLEM
ITEMS = toy_family.make_items(0)
pytestmark = pytest.mark.usefixtures("toy")


def plan(*actions: int) -> np.ndarray:
    return np.array(actions, np.int64)


def fitting() -> np.ndarray:
    return toy_family.greedy(ITEMS, Budget(1.0), 0).actions


def test_a_legal_plan_gets_the_value_that_both_judges_find() -> None:
    found = judge(PROBLEM, ITEMS, fitting(), World())
    assert found.feasible and found.agree
    assert found.objective == ITEMS.value[fitting()].sum()
    assert found.detail == {"items": len(fitting())}


def test_an_illegal_plan_is_infeasible_with_the_validators_reasons() -> None:
    found = judge(PROBLEM, ITEMS, plan(0, 0), World())
    assert not found.feasible and found.agree
    assert math.isnan(found.objective)
    assert found.violations == ("step 2: item 0 cannot be taken",)


def test_a_plan_that_goes_on_after_the_end_is_infeasible() -> None:
    everything = plan(*range(len(ITEMS.value)))
    assert not judge(PROBLEM, ITEMS, everything, World()).feasible


def test_judges_that_disagree_on_the_objective_are_told_apart() -> None:
    liar = dataclasses.replace(ITEMS, name="liar")
    found = judge(PROBLEM, liar, fitting(), World())
    assert not found.agree and not found.feasible
    assert "the environment says" in found.violations[0]


class Strict(toy_family.Toy):
    """Its validator accepts nothing."""

    def validate(self, items: Any, actions: np.ndarray, world: World) -> Verdict:
        return Verdict(math.nan, False, ("no",))


def test_judges_that_disagree_on_feasibility_are_told_apart() -> None:
    found = judge(Strict(), ITEMS, fitting(), World())
    assert not found.agree
    assert "accepts the plan and the validator rejects it: no" in found.violations[0]


def test_an_environment_that_breaks_is_a_disagreement_and_not_a_crash() -> None:
    found = judge(PROBLEM, ITEMS, plan(99), World())
    assert not found.agree and "the environment raised IndexError" in found.violations[0]


def test_doing_nothing_is_the_empty_plan() -> None:
    assert null_objective(PROBLEM, ITEMS, World()) == 0.0


def test_in_a_moving_world_a_later_plan_is_worth_less() -> None:
    drifting = dataclasses.replace(ITEMS, drift=2.0)
    now, later = (judge(PROBLEM, drifting, fitting(), World(0, s)).objective for s in (0.0, 3.0))
    assert now - later == pytest.approx(6.0)


def test_each_point_of_the_anytime_curve_is_judged_at_its_own_second() -> None:
    drifting = dataclasses.replace(ITEMS, drift=2.0)
    held = [Incumbent(1.0, fitting()[:1]), Incumbent(2.0, fitting())]
    curve = dict(anytime_curve(PROBLEM, drifting, held, 0, 3.0))
    assert curve[1.0] == ITEMS.value[fitting()[:1]].sum() - 2.0
    assert curve[2.0] == ITEMS.value[fitting()].sum() - 4.0


def test_a_plan_in_hand_loses_worth_while_the_world_moves_on() -> None:
    drifting = dataclasses.replace(ITEMS, drift=2.0)
    curve = anytime_curve(PROBLEM, drifting, [Incumbent(1.0, fitting())], 0, 3.0)
    seconds, values = np.array(curve).T
    assert (seconds[0], seconds[-1]) == pytest.approx((1.0, 3.0))
    assert values == pytest.approx(ITEMS.value[fitting()].sum() - 2.0 * seconds)


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    held = [Incumbent(float(s), fitting()) for s in range(500)]
    curve = anytime_curve(PROBLEM, ITEMS, held, 0, 500.0)
    assert len(curve) == CURVE_POINTS
    assert (curve[0][0], curve[-1][0]) == (0.0, 499.0)


def test_infeasible_incumbents_are_no_points_of_the_curve() -> None:
    assert anytime_curve(PROBLEM, ITEMS, [Incumbent(1.0, plan(0, 0))], 0, 2.0) == []
    assert anytime_curve(PROBLEM, ITEMS, [], 0, 2.0) == []


def test_world_seeds_depend_on_instance_and_run_and_nothing_else() -> None:
    assert world_seed("abc", 0) == world_seed("abc", 0)
    assert len({world_seed("abc", 0), world_seed("abc", 1), world_seed("abd", 0)}) == 3
