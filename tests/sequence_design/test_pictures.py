"""The report's pictures of sequence design."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from result_rows import make_row
from sysopt_gym.core.contracts import World
from sysopt_gym.core.results import Row
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.datasets.sequence_design.settings import with_settings
from sysopt_gym.envs.sequence_design.designs import best_offline
from sysopt_gym.envs.sequence_design.validate import curves, validate
from sysopt_gym.evaluation.pictures import sequence_design as pictures_module
from sysopt_gym.evaluation.pictures.sequence_design import pictures

Tiny = Callable[..., DesignTask]
PNG = b"\x89PNG"


COLORS = {name: "#0072B2" for name in ("few", "good", "idle")}


def row(task: DesignTask, contender: str, plan: np.ndarray, seed: int = 0) -> Row:
    actions = plan.ravel().tolist()
    return make_row(
        contender, task.name, instance_hash=task.content_hash, seed=seed, actions=actions
    )


def by_hash(*tasks: DesignTask) -> dict[str, DesignTask]:
    return {task.content_hash: task for task in tasks}


def test_curves_a_scatter_a_spread_and_logos_of_contenders_with_designs(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    rows = [
        row(task, "few", best_offline(task, 9)[-2:]),
        row(task, "good", best_offline(task, 5)),
        row(task, "good", best_offline(task, 9)[-5:], seed=1),
        row(task, "idle", np.zeros(0, np.int64)),
    ]
    drawn = pictures(rows, by_hash(task), COLORS)
    assert [p.title for p in drawn[:4]] == [
        "Best of the first k designs",
        "Median of the first k designs",
        "The proxy against the oracle",
        "Diversity against score",
    ]
    assert {p.title for p in drawn[4:]} == {f"tiny-0: what {n} handed in" for n in ("few", "good")}
    assert len(drawn) == 6 and all(p.png.startswith(PNG) for p in drawn)
    assert all(p.instances == (task.content_hash,) and p.result for p in drawn)
    estimated = dataclasses.replace(task, oracle='{"landscape": "measured"}')
    rows = [row(estimated, "good", best_offline(task, 5))]
    assert len(pictures(rows, by_hash(estimated), COLORS)) == 5


def test_several_tasks_are_panels_of_the_same_pictures_exact_oracles_first(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    guess = dataclasses.replace(tiny_task(0), oracle='{"landscape": "measured"}', name="guess")
    tasks = [guess, *(tiny_task(seed) for seed in (1, 2, 3, 4, 5))]
    titles = []
    real = pictures_module._panels

    def watched(groups: Any, draw: Any) -> bytes:
        titles.append([group.task.name for group in groups])
        return real(groups, draw)

    monkeypatch.setattr(pictures_module, "_panels", watched)
    rows = [row(task, "good", best_offline(task, 5)) for task in tasks]
    drawn = pictures(rows, by_hash(*tasks), COLORS)
    assert titles == [["tiny-1", "tiny-2", "tiny-3", "tiny-4"]] * 4
    assert len(drawn) == 4 + 4, "one logo a task"
    few = pictures(rows[:2], by_hash(*tasks), COLORS)
    assert titles[-1] == ["tiny-1", "guess"] and len(few) == 4 + 2


def test_a_curve_over_k_is_the_best_and_the_median_of_the_first_k() -> None:
    best, median = curves(np.array([0.2, 0.6, 0.1, 0.9]))
    assert best.tolist() == [0.2, 0.6, 0.6, 0.9]
    assert median == pytest.approx([0.2, 0.4, 0.2, 0.4])


def test_without_feasible_plans_there_are_none(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    empty = row(task, "good", np.zeros(0, np.int64))
    broken = dataclasses.replace(empty, feasible=False)
    assert pictures([broken], by_hash(task), COLORS) == []
    assert pictures([empty], by_hash(task), COLORS) == [], "no design to show"


def test_best_and_median_are_drawn_by_round_where_there_are_several(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, several = tiny_task(0, 4), with_settings(tiny_task(1, 4), {"rounds": "3"})
    lines: list[np.ndarray] = []
    real = pictures_module._panels

    def watched(groups: Any, draw: Any) -> bytes:
        def drawn(axes: Any, group: Any) -> None:
            draw(axes, group)
            if group.task is several and axes.get_xlabel() == "rounds measured":
                lines.extend(np.asarray(line.get_ydata()) for line in axes.lines)

        return real(groups, drawn)

    monkeypatch.setattr(pictures_module, "_panels", watched)
    plan = np.resize(best_offline(several, 20)[::-1], (12, several.length))
    detail = dict(validate(several, plan.ravel().astype(np.int64), World()).detail or {})
    rows = [
        dataclasses.replace(row(several, "good", plan), detail=detail),
        row(one, "good", best_offline(one, 4)),
    ]
    titles = [picture.title for picture in pictures(rows, by_hash(one, several), COLORS)]
    assert titles.count("Best and median by round") == 1
    best, median = lines
    assert best.tolist() == [detail[f"best@round{r}"] for r in (1, 2, 3)]
    assert median.tolist() == [detail[f"median@round{r}"] for r in (1, 2, 3)]
    rows = [row(one, "good", best_offline(one, 4))]
    titles = [picture.title for picture in pictures(rows, by_hash(one), COLORS)]
    assert "Best and median by round" not in titles
