"""A plan in a biologist's form: one row a design."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import SolutionError
from ...datasets.sequence_design.distances import nearest
from ...datasets.sequence_design.instance import DesignTask
from .proxy import reference_proxy
from .rules import legal


def designs_of(task: DesignTask, actions: np.ndarray) -> np.ndarray:
    """The complete designs of a plan, int8 [n, L], repeats included.

    Raises:
        SolutionError: a letter is outside the alphabet or may not stand where it does.
    """
    plan = np.asarray(actions, np.int64).ravel()
    whole = len(plan) // task.length
    tokens = plan[: whole * task.length].reshape(whole, task.length)
    sane = whole <= task.designs_asked and (
        not tokens.size or (tokens.min() >= 0 and tokens.max() < task.letters)
    )
    if not sane or not legal(task, tokens.astype(np.int8)).all():
        raise SolutionError(
            f"{task.name}: the plan is no legal batch of designs; `sysopt-gym validate` says what "
            "it breaks"
        )
    return tokens.astype(np.int8)


def export_plan(task: DesignTask, actions: np.ndarray) -> list[dict[str, Any]]:
    """One row a different design, best by the task's own proxy first.

    Columns: rank; sequence; proxy_score in the unit of the measured scores, and proxy_spread, the
    ensemble's disagreement; nearest (letters that differ from the nearest measured sequence).

    Raises:
        SolutionError: the plan is not legal.
    """
    designs = designs_of(task, actions)
    if not len(designs):
        return []
    designs = np.unique(designs, axis=0)
    means, spreads = reference_proxy(task).predict(designs)
    low, high = float(task.scores.min()), float(task.scores.max())
    distances = nearest(designs, task.sequences)
    rows = []
    for rank, row in enumerate(np.argsort(-means, kind="stable"), start=1):
        rows.append(
            {
                "rank": rank,
                "sequence": task.text(designs[row]),
                "proxy_score": task.sign * (low + float(means[row]) * (high - low)),
                "proxy_spread": float(spreads[row]) * (high - low),
                "nearest": int(distances[row]),
            }
        )
    return rows
