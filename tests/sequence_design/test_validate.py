"""The judge of sequence design: padding, figures by hand, oracles that fail."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruled_designs import draw_ruled, every_legal
from scipy import stats
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import load_problem
from sysopt_gym.datasets.sequence_design.distances import nearest
from sysopt_gym.datasets.sequence_design.ehrlich import from_handle
from sysopt_gym.datasets.sequence_design.instance import DesignTask, seal
from sysopt_gym.datasets.sequence_design.landscapes import Oracle
from sysopt_gym.envs.sequence_design import env
from sysopt_gym.envs.sequence_design import validate as judge_module
from sysopt_gym.envs.sequence_design.designs import best_offline
from sysopt_gym.envs.sequence_design.plan import export_plan
from sysopt_gym.envs.sequence_design.validate import diversity, rank_correlation, validate
from sysopt_gym.evaluation.judge import judge

Tiny = Callable[..., DesignTask]
SEEDS = st.integers(0, 10**6)


def test_the_empty_plan_is_judged_as_the_best_of_the_offline_set(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    verdict = validate(task, np.zeros(0, np.int64), World())
    assert verdict.objective == np.median(np.sort(task.scores)[-task.batch_size :])
    assert verdict.detail is not None
    assert (verdict.detail["uniques"], verdict.detail["padded"]) == (0, task.batch_size)
    assert verdict.detail["novelty"] == 0


def test_the_optimum_and_padding_score_as_the_landscape_says(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    best = from_handle(task.handle(), task.banned).optimum(task.length)
    plan = np.concatenate([best, best, best[:-1]]).astype(np.int64)
    verdict = validate(task, plan, World())
    assert verdict.feasible and verdict.detail is not None
    rest = np.sort(task.scores)[-(task.batch_size - 1) :]
    assert verdict.objective == np.median([1.0, *rest])
    assert verdict.detail["max"] == 1.0
    assert verdict.detail["mean"] == pytest.approx(np.mean([1.0, *rest]))
    assert (verdict.detail["uniques"], verdict.detail["padded"]) == (1, task.batch_size - 1)


@pytest.mark.parametrize(
    ("place", "first", "best"), [(0, 1.0, 1.0), (15, 0.0, 1.0), (16, 0.0, 0.0)]
)
def test_few_designs_are_judged_in_the_order_they_were_handed_in(
    tiny_task: Tiny, place: int, first: float, best: float
) -> None:
    task = tiny_task(0, 20)
    optimum = from_handle(task.handle(), task.banned).optimum(task.length)
    plan = task.sequences[task.scores == 0.0][:16].tolist()
    plan.insert(place, optimum.tolist())
    detail = validate(task, np.array(plan).ravel(), World()).detail
    assert detail is not None
    assert (detail["best@1"], detail["best@16"], detail["max"]) == (first, best, 1.0)
    assert detail["median@16"] == 0.0


def test_the_proxy_is_too_optimistic_by_what_it_expects_more_than_is_found(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    worst = np.argsort(task.scores)[: task.batch_size]
    verdict = validate(task, task.sequences[worst].ravel().astype(np.int64), World())
    assert verdict.detail is not None and verdict.replayed is not None
    low, high = task.scores.min(), task.scores.max()
    gap = low + verdict.replayed * (high - low) - verdict.objective
    assert abs(gap) > 0.01
    assert verdict.detail["optimism_gap"] == pytest.approx(gap)


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_diversity_novelty_and_rank_correlation_are_as_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch, others = (rng.integers(0, 3, (n, 4)).astype(np.int8) for n in (5, 7))
    pairs = [int((a != b).sum()) for a, b in itertools.combinations(batch, 2)]
    assert diversity(batch) == pytest.approx(np.mean(pairs))
    assert nearest(batch, others).tolist() == [
        min(int((a != b).sum()) for b in others) for a in batch
    ]
    one, other = rng.integers(0, 5, 12), rng.normal(size=12)
    if np.ptp(one):
        expected = stats.spearmanr(one, other).statistic
        assert rank_correlation(one, other) == pytest.approx(expected)


def test_a_constant_has_no_rank_correlation() -> None:
    assert rank_correlation(np.ones(4), np.arange(4.0)) == 0.0


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda plan: np.append(plan, 0),
            "design 5, position 0: the batch of 5 designs is complete",
        ),
        (
            lambda plan: np.where(np.arange(len(plan)) == 7, 9, plan),
            "design 1, position 1.*letter 9",
        ),
        (lambda plan: np.where(np.arange(len(plan)) == 7, -1, plan), "letter -1 is outside"),
        (lambda plan: plan.reshape(5, -1), "whole numbers in one row"),
        (lambda plan: plan + 0.5, "whole numbers in one row"),
    ],
)
def test_plans_that_make_no_sense_are_infeasible_by_step_and_design(
    tiny_task: Tiny, spoil: Callable[[np.ndarray], np.ndarray], told: str
) -> None:
    task = tiny_task(0)
    plan = best_offline(task, task.batch_size).astype(np.int64).ravel()
    verdict = validate(task, spoil(plan), World())
    assert not verdict.feasible and np.isnan(verdict.objective)
    assert re.search(told, verdict.violations[0])


def test_a_banned_pair_is_infeasible_in_the_environment_and_here(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    first, second = np.argwhere(task.banned)[0]
    verdict = judge(load_problem("sequence_design"), task, np.array([first, second]), World())
    assert verdict.agree and not verdict.feasible
    assert "banned" in verdict.violations[0]


def test_scores_are_scaled_between_the_landscapes_worst_and_best() -> None:
    oracle = Oracle(lambda tokens: np.zeros(len(tokens)), -1.0, 3.0)
    assert oracle.normalized(np.array([-1.0, 0.0, 3.0])).tolist() == [0.0, 0.25, 1.0]


class Constant:
    """A proxy that predicts the same of all sequences."""

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(len(tokens)), np.zeros(len(tokens))


@pytest.mark.parametrize("seed", range(12))
def test_an_unfinished_design_is_refused_by_both_where_no_rest_keeps_the_rules(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (env, judge_module):
        monkeypatch.setattr(module, "reference_proxy", lambda task: Constant())
    task = draw_ruled(seed, 3, length=4)
    good = every_legal(task)
    for count in range(1, task.length):
        for begun in itertools.product(range(3), repeat=count):
            plan = np.array([*good[0], *begun], np.int64)
            found = judge(load_problem("sequence_design"), task, plan, World())
            assert found.agree
            assert found.feasible == (good[:, :count] == begun).all(axis=1).any()


def test_the_judge_accepts_a_plan_and_tells_the_objective_not_the_proxys(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    plan = best_offline(task, task.batch_size)[::-1].astype(np.int64).ravel()
    found = judge(load_problem("sequence_design"), task, plan, World())
    verdict = validate(task, plan, World())
    assert found.agree and found.objective == verdict.objective != verdict.replayed


def test_contenders_are_shown_sealed_tasks(tiny_task: Tiny) -> None:
    assert load_problem("sequence_design").contender_view(tiny_task(0)).sealed


class Broken:
    """An oracle that fails on some designs, and counts how often it is asked."""

    def __init__(self, bad: bytes | None, unknown: bytes | None = None) -> None:
        self.bad, self.unknown, self.asked = bad, unknown, 0

    def __call__(self, task: DesignTask) -> Oracle:
        return Oracle(self.score, 0.0, 2.0)

    def score(self, tokens: np.ndarray) -> np.ndarray:
        self.asked += 1
        rows = [row.tobytes() for row in tokens]
        if self.bad in rows:
            raise RuntimeError("the assay is out of reagent")
        return np.array([np.nan if row == self.unknown else 1.0 for row in rows])


def test_an_oracle_that_raises_is_told_by_design_and_loses_no_row(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = dataclasses.replace(tiny_task(7), oracle='{"landscape": "broken"}')
    designs = best_offline(task, task.batch_size)
    monkeypatch.setattr(judge_module, "open_oracle", Broken(designs[2].tobytes()))
    found = judge(load_problem("sequence_design"), task, designs.astype(np.int64).ravel(), World())
    assert not found.feasible
    assert f"design 2, {task.text(designs[2])}" in found.violations[0]
    assert "out of reagent" in found.violations[0] and "replay" in found.violations[0]


def test_the_oracle_is_asked_once_about_a_batch_and_may_not_know(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = dataclasses.replace(tiny_task(8), oracle='{"landscape": "counting"}')
    designs = best_offline(task, task.batch_size)
    oracle = Broken(None, designs[0].tobytes())
    monkeypatch.setattr(judge_module, "open_oracle", oracle)
    for _ in range(3):
        verdict = validate(task, designs.astype(np.int64).ravel(), World())
    assert oracle.asked == 1 and verdict.detail is not None
    assert verdict.detail["unmeasured"] == 1
    assert verdict.detail["mean"] == pytest.approx(0.5 * (task.batch_size - 1) / task.batch_size)


def test_a_sealed_task_cannot_be_judged(tiny_task: Tiny) -> None:
    verdict = validate(seal(tiny_task(0)), np.zeros(0, np.int64), World())
    assert not verdict.feasible and "sealed" in verdict.violations[0]


def test_the_exported_plan_lists_each_design_once_best_first(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    designs = best_offline(task, 3)
    rows: list[dict[str, Any]] = export_plan(
        task, np.concatenate([designs, designs[:1]]).astype(np.int64).ravel()
    )
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert {row["sequence"] for row in rows} == {task.text(design) for design in designs}
    scores = [row["proxy_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert all(row["nearest"] == 0 for row in rows)
