"""Rows of results for tests, without playing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sysopt_gym.core.results import Row


def make_row(contender: str, instance: str = "i0", objective: float = 0.5, **more: Any) -> Row:
    """A feasible run of a minimizing family that took half of its second."""
    plain = Row(
        family="f", instance=instance, instance_hash=instance, contender=contender, role="solver",
        form="planner", seed=0, world_seed=0, objective=objective, scored_objective=objective,
        null_objective=1.0, objective_name="cost", direction="minimize", feasible=True,
        status="feasible", is_live=False, wall_s=0.5, cpu_s=0.4, setup_s=0.1, budget_s=1.0,
        env_version="1", curve=((0.5, objective),),
    )  # fmt: skip
    return dataclasses.replace(plain, **more)


def kept(out: Path) -> list[dict[str, Any]]:
    """The rows in a comparison's folder, as they stand there."""
    path = out / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rewrite(out: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the rows in a comparison's folder by hand."""
    rows = change(kept(out))
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def with_first(**values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """A change of some values in the first row."""
    return lambda rows: [rows[0] | values, *rows[1:]]
