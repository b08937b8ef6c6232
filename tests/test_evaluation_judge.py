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
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.registry import load_contender
from sysopt_gym.core.solution import Incumbent, Played, Solution
from sysopt_gym.evaluation.judge import (
    CURVE_POINTS,
    CURVE_ROWS,
    Judged,
    anytime_curve,
    judge,
    judged,
    null_objective,
    world_seed,
)
from sysopt_gym.evaluation.process import Outcome

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


def followed() -> Solution:
    """What comes of a policy that plays the environment."""
    follow = load_contender("toy", "follow")
    return run(follow, PROBLEM, Task(ITEMS, Budget(5.0), seed=0, world_seed=0))


def ruled(solution: Solution, items: toy_family.Items = ITEMS) -> Judged:
    outcome, budget = Outcome(solution, wall_s=0.1, cpu_s=0.1), Budget(5.0)
    return judged(PROBLEM, items, outcome, World(0, 0.1), budget)


def test_what_the_environment_says_while_it_is_played_is_what_its_replay_says() -> None:
    solution = followed()
    assert solution.played == Played(ITEMS.value[solution.actions].sum(), True)
    assert ruled(solution).status == "feasible"


def test_an_environment_that_lies_to_the_policy_that_plays_it_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        lie = {"objective": 1000.0, "feasible": True}
        patch.setattr(toy_family.ToyEnv, "_info", lambda env: lie)
        solution = followed()
    answer, truth = ruled(solution), float(ITEMS.value[solution.actions].sum())
    assert answer.status == "disagreement" and not answer.found.feasible
    (reason,) = answer.found.violations
    assert "said 1000.0 (feasible) while it was played" in reason
    assert f"and {truth!r} (feasible) when it was replayed" in reason


def test_an_environment_that_said_a_feasible_plan_was_not_is_found_out() -> None:
    solution = followed()
    unsure = dataclasses.replace(
        solution, played=dataclasses.replace(solution.played, feasible=False)
    )
    assert ruled(unsure).status == "disagreement"


def test_an_environment_may_hide_the_objective_from_who_plays_it() -> None:
    hidden = dataclasses.replace(followed(), played=Played(math.nan, True))
    assert ruled(hidden).status == "feasible"


def test_in_a_live_world_the_replay_may_say_something_else_than_the_play() -> None:
    drifting = dataclasses.replace(ITEMS, drift=2.0)
    assert ruled(followed(), drifting).status == "feasible"


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


@pytest.mark.parametrize(("rows", "points"), [(CURVE_ROWS // 4, 5), (CURVE_ROWS + 1, 1)])
def test_a_curve_of_long_plans_has_fewer_points_but_always_the_last(
    rows: int, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged_rows = 0

    def count(instance: Any, actions: np.ndarray, world: World) -> Verdict:
        nonlocal judged_rows
        judged_rows += len(actions)
        return Verdict(float(len(actions)), True)

    monkeypatch.setattr(PROBLEM, "validate", count)
    long = np.zeros(rows, np.int64)
    held = [Incumbent(float(s), long[s:]) for s in range(30)]
    curve = anytime_curve(PROBLEM, ITEMS, held, 0, 500.0, final=1.0)
    assert len(curve) == points
    assert curve[-1] == (29.0, 1.0)
    assert judged_rows <= CURVE_ROWS


def test_infeasible_incumbents_are_no_points_of_the_curve() -> None:
    assert anytime_curve(PROBLEM, ITEMS, [Incumbent(1.0, plan(0, 0))], 0, 2.0) == []
    assert anytime_curve(PROBLEM, ITEMS, [], 0, 2.0) == []


def test_world_seeds_depend_on_instance_and_run_and_nothing_else() -> None:
    assert world_seed("abc", 0) == world_seed("abc", 0)
    assert len({world_seed("abc", 0), world_seed("abc", 1), world_seed("abd", 0)}) == 3
