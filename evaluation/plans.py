"""The report's plans: the first steps of an instance's best one, in an operator's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.problem import Problem
from .headline import number
from .table import PARQUET, Scored

MOST_PLANS = 20
MOST_STEPS = 12  # of a plan on the page
MOST_EXPORTED = 5_000  # steps of a plan that is put into the operator's form


def best_plans(
    rows: Sequence[Scored], instances: Mapping[str, Any], problem: Problem[Any]
) -> list[dict[str, Any]]:
    """Return the best plan of the first instances by name that have one; oracles are left out.

    Args:
        rows: rows of one family and one objective.
        instances: hash -> instance, of those that may be shown.
        problem: the family.

    Returns:
        hash and name of the instance; who made the plan; columns and lines of its first steps;
        more: how many steps are left out and where they are.
    """
    best: dict[str, Scored] = {}
    for row in rows:
        if row.failed or row.role == "oracle" or row.instance_hash not in instances:
            continue
        held = best.get(row.instance_hash)
        if held is None or row.sign * row.objective < held.sign * held.objective:
            best[row.instance_hash] = row
    found = sorted(best.values(), key=lambda row: row.instance)[:MOST_PLANS]
    return [_plan(row, instances[row.instance_hash], problem) for row in found]


def _plan(row: Scored, instance: Any, problem: Problem[Any]) -> dict[str, Any]:
    steps = _steps(row, instance, problem)
    shown = steps[:MOST_STEPS]
    left = len(steps) - len(shown)
    return {
        "hash": row.instance_hash,
        "name": row.instance,
        "who": f"{row.contender}, seed {row.seed}: {row.objective_name.replace('_', ' ')} "
        f"{number(row.objective)}",
        "columns": [str(name) for name in (shown[0] if shown else ())],
        "lines": [[_text(value) for value in step.values()] for step in shown],
        "more": f"{left:,} more of {len(steps):,} steps are in {PARQUET}." if left else "",
    }


def _steps(row: Scored, instance: Any, problem: Problem[Any]) -> list[dict[str, Any]]:
    """Return a plan's steps as an operator takes them; as actions if the form has no such plan.

    A plan that was made for one world cannot be carried out in others.
    """
    actions = list(row.actions)
    if not (row.is_live or row.is_random) and len(actions) <= MOST_EXPORTED:
        try:
            return problem.export_plan(instance, np.asarray(actions, np.int64))
        except Exception:  # of another package's family, too: an error must not lose the report
            pass
    return [{"step": at, "action": action} for at, action in enumerate(actions, start=1)]


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
