"""The report's tables of instances: objectives by contender, and figures over instances or seeds.

Pages hold the first instances of a large comparison; summary.json and results.parquet hold all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .headline import interval, number
from .statistics import Standing, mean
from .table import PARQUET, SUMMARY, Scored

MOST_INSTANCES = 500  # in the table of objectives
MOST_OVER_SEEDS = 20  # that have a table of their own


def left_out(shown: int, count: int) -> str:
    """Return a sentence on where the rest is; empty if all instances are shown.

    Args:
        shown: number of instances on the page.
        count: number of instances.
    """
    if shown >= count:
        return ""
    return f"The first {shown:,} of {count:,} instances; {SUMMARY} and {PARQUET} have all of them."


def figures(
    rows: Sequence[Scored], lines: Sequence[Standing], unit: Callable[[Scored], str | int]
) -> dict[str, Any]:
    """Return means of the family's further figures over feasible runs, by contender.

    Args:
        rows: rows of one family and one objective.
        lines: standings of their contenders.
        unit: row -> its instance or seed; means are taken within units first, then over units, with
            intervals.
    """
    found = [row for row in rows if row.feasible and row.detail]
    names = list(dict.fromkeys(name for row in found for name in row.detail))
    runs: dict[str, list[Scored]] = defaultdict(list)
    for row in found:
        runs[row.contender].append(row)
    table = []
    for line in lines:
        own = runs[line.contender]
        if own:
            cells = []
            for name in names:
                held: dict[Any, list[float]] = {}
                for row in own:
                    if name in row.detail:
                        held.setdefault(unit(row), []).append(row.detail[name])
                figure = mean([float(np.mean(v)) for v in held.values()]) if held else None
                cells.append((number(figure.value), interval(figure)) if figure else ("–", ""))
            table.append({"name": line.contender, "cells": cells})
    return {"names": names, "rows": table}


def of_instances(rows: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Return the rows of each instance, by its hash."""
    found: dict[str, list[Scored]] = {}
    for row in rows:
        found.setdefault(row.instance_hash, []).append(row)
    return found


def with_seeds(rows: Sequence[Scored]) -> list[list[Scored]]:
    """Return the rows of each instance that was played with several seeds."""
    return [own for own in of_instances(rows).values() if len({row.seed for row in own}) > 1]


def over_seeds(rows: Sequence[Scored], lines: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return objective and further figures over seeds, for the first instances with several.

    Args:
        rows: rows of one family and one objective.
        lines: standings of their contenders.
    """
    tables = []
    for own in with_seeds(rows)[:MOST_OVER_SEEDS]:
        runs = [
            replace(row, detail={row.objective_name: row.objective, **row.detail}) for row in own
        ]
        table = figures(runs, lines, lambda row: row.seed)
        facts = {"name": own[0].instance, "hash": own[0].instance_hash}
        tables.append(facts | {"figures": table})
    return tables


def objectives(rows: Sequence[Scored], lines: Sequence[Standing]) -> dict[str, Any]:
    """Return the scored objective by instance and contender, the mean over seeds.

    An oracle's is never marked as the best.

    Args:
        rows: rows of one family and one objective.
        lines: standings of their contenders.

    Returns:
        names: of the contenders; rows: of the first instances by name; more: what is left out.
    """
    groups = sorted(of_instances(rows).values(), key=lambda own: own[0].instance)
    shown = groups[:MOST_INSTANCES]
    return {
        "names": [line.contender for line in lines],
        "rows": [_objectives_on(own, lines) for own in shown],
        "more": left_out(len(shown), len(groups)),
    }


def _objectives_on(rows: Sequence[Scored], lines: Sequence[Standing]) -> dict[str, Any]:
    """Return the table's line of an instance.

    Args:
        rows: rows of the instance.
        lines: standings of the contenders.
    """
    first = rows[0]
    rivals = {line.contender for line in lines if line.role != "oracle"}
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.contender, []).append(row.scored_objective)
    means = {name: float(np.mean(found)) for name, found in values.items()}
    failed = {row.contender for row in rows if row.failed}
    finite = [first.sign * means[n] for n in means if n in rivals and not np.isnan(means[n])]
    top = min(finite, default=np.nan)
    return {
        "name": first.instance,
        "hash": first.instance_hash,
        "nothing": number(float(np.mean([row.null_objective for row in rows]))),
        "bound": number(first.proven_bound),
        "cells": [
            {
                "text": number(means.get(name)),
                "best": name in rivals and name in means and first.sign * means[name] <= top + 1e-9,
                "failed": name in failed,
            }
            for name in (line.contender for line in lines)
        ],
    }
