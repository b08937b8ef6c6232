"""The report's pictures of sequence design."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.envs.sequence_design.dynamics import best_offline
from sysopt_gym.envs.sequence_design.pictures import pictures

PNG = b"\x89PNG"


def row(task: DesignTask, contender: str, plan: np.ndarray, objective: float) -> dict[str, Any]:
    return {
        "contender": contender,
        "instance_hash": task.content_hash,
        "feasible": True,
        "objective": objective,
        "actions": plan.ravel().tolist(),
    }


def test_a_scatter_a_spread_and_a_logo_a_contender(
    tiny_task: Callable[..., DesignTask],
) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra report")
    task = tiny_task(0)
    rows = [
        row(task, "good", best_offline(task, 5), 0.6),
        row(task, "few", best_offline(task, 2), 0.5),
        row(task, "idle", np.zeros(0, np.int64), 0.4),
    ]
    drawn = pictures(rows, {task.content_hash: task})
    assert [("good" in p.title, "few" in p.title) for p in drawn[2:]] == [(1, 0), (0, 1)]
    assert len(drawn) == 4 and all(p.png.startswith(PNG) for p in drawn)
    estimated = dataclasses.replace(task, oracle='{"landscape": "measured"}')
    rows = [row(estimated, "good", best_offline(task, 5), 0.6)]
    assert len(pictures(rows, {estimated.content_hash: estimated})) == 3


def test_without_feasible_plans_there_are_none(tiny_task: Callable[..., DesignTask]) -> None:
    task = tiny_task(0)
    broken = row(task, "good", np.zeros(0, np.int64), 0.0) | {"feasible": False}
    assert pictures([broken], {task.content_hash: task}) == []
