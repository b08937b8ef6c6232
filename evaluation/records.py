"""Results as plain records, which the commands print as JSON, or as lines and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.problem import Problem
from ..core.results import plain
from .doctor import Finding
from .listings import Record
from .report import HTML, MARKDOWN
from .single import Solved
from .table import PARQUET, SUMMARY, Scored


def described(problem: Problem[Any], instances: Sequence[Any]) -> Record:
    """Return facts about instances, by name.

    Args:
        problem: the family.
        instances: any instances of it.
    """
    return {
        "family": problem.family,
        "instances": [
            {
                "name": instance.name,
                "hash": instance.content_hash,
                "facts": {name: _plain(v) for name, v in problem.describe(instance).items()},
            }
            for instance in instances
        ],
    }


def examined(findings: Sequence[Finding]) -> Record:
    """Return the doctor's findings, and whether nothing that is required is off."""
    return {
        "healthy": all(finding.health != "off" for finding in findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def solved(problem: Problem[Any], instance: Any, solved: Solved) -> Record:
    """Return a judged answer.

    Args:
        problem: the family.
        instance: the instance with its settings applied.
        solved: the answer.
    """
    objective, file, answer = problem.objective(instance), solved.file, solved.answer
    found = answer.found
    made: Record = {
        "family": problem.family,
        "instance": instance.name,
        "instance_hash": instance.content_hash,
        "settings": dict(file.settings),
        "contender": file.contender,
        "seed": file.seed,
        "budget_s": file.extra["budget_s"],
        "objective": found.objective,
        "objective_name": objective.name,
        "direction": objective.direction,
        "unit": objective.unit,
        "feasible": found.feasible,
        "violations": list(found.violations),
        "late": answer.late,
        "status": file.status,
        "bound": file.bound,
        "wall_s": file.wall_s,
        "cpu_s": solved.cpu_s,
        "setup_s": solved.setup_s,
        "actions": len(file.actions),
    }
    return {name: plain(value) for name, value in made.items()}


def compared(rows: Sequence[Scored], out: Path) -> Record:
    """Return the result of a comparison: its contenders, the best of each family first, and files.

    Args:
        rows: the comparison's rows.
        out: the comparison's folder.
    """
    runs: dict[tuple[str, str], list[Scored]] = {}
    for row in rows:
        runs.setdefault((row.family, row.contender), []).append(row)
    contenders = [_contender(*key, own) for key, own in runs.items()]

    def place(one: Record) -> tuple[str, bool, float]:
        gap = one["gap_to_best"]
        return one["family"], one["role"] == "oracle", float("inf") if gap is None else gap

    return {
        "out": str(out),
        "rows": len(rows),
        "failed": sum(row.failed for row in rows),
        "contenders": sorted(contenders, key=place),
        "report": str(out / HTML),
        "markdown": str(out / MARKDOWN),
        "table": str(out / PARQUET),
        "summary": str(out / SUMMARY),
    }


def _contender(family: str, contender: str, runs: Sequence[Scored]) -> Record:
    gaps = [row.gap_to_best for row in runs if row.gap_to_best is not None]
    walls = sorted(row.wall_s for row in runs if row.wall_s is not None)
    return {
        "family": family,
        "contender": contender,
        "role": runs[0].role,
        "runs": len(runs),
        "failed": sum(row.failed for row in runs),
        "gap_to_best": sum(gaps) / len(gaps) if gaps else None,
        "wall_s": walls[len(walls) // 2] if walls else None,
    }


def _plain(value: Any) -> Any:
    """Return a fact as strict JSON takes it; what it does not take as its text."""
    if isinstance(value, np.generic):
        value = value.item()
    value = plain(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
