"""The table of results: gaps over all rows, and its file forms."""

from __future__ import annotations

import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.files import write_bytes
from .cells import Row, plain

SUMMARY, PARQUET = "summary.json", "results.parquet"
HEAVY = ("actions", "curve", "violations")
TOLERANCE = 1e-6


def sign(row: Row) -> float:
    """1 where less is better, -1 where more is."""
    return 1.0 if row["direction"] == "minimize" else -1.0


def gap(objective: float, reference: float, sign: float) -> float:
    """Relative distance to a reference, 0 at it, above 0 where worse; absolute where the reference
    is 0.
    """
    scale = abs(reference) if abs(reference) > 1e-9 else 1.0
    return sign * (objective - reference) / scale


def world_of(row: Row) -> tuple[str, str, int]:
    """Rows that can be compared with each other: same instance and, where the world draws what the
    problem is, or moves on, same world. Rows of folders from before that was told apart say only
    whether it moves on.
    """
    differs = row.get("draws", row["moves_on"])
    return row["family"], row["instance_hash"], row["world_seed"] if differs else 0


def add_gaps(rows: Sequence[Row]) -> list[str]:
    """Sets best, proven_bound, gap_to_best and gap_to_bound in every row.

    A gap is of the objective that the row is ranked by (`scored_objective`), so a failed run's gap
    is that of doing nothing. The best is over all feasible plans but oracles', and what is known
    from elsewhere.
    The bound is the tightest that any contender proved; none holds where the world moves on, nor
    one that a feasible plan beats.

    Returns:
        One sentence for each bound that a feasible plan contradicts.
    """
    notes: list[str] = []
    groups: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[world_of(row)].append(row)
    for group in groups.values():
        way = sign(group[0])
        rivals = [row for row in group if row["kind"] != "oracle"]
        plans = [row["objective"] for row in rivals if row["feasible"]]
        best_plan = _best(plans, way)
        bounds = []
        for row in group:
            if row["bound"] is None or row["moves_on"]:
                continue
            if best_plan is not None and gap(best_plan, row["bound"], way) < -TOLERANCE:
                notes.append(
                    f"{row['contender']} claims that no plan for {row['instance']} is better than "
                    f"{row['bound']:.6g}, yet there is one of {best_plan:.6g}; its bound is left "
                    "out"
                )
                continue
            bounds.append(row["bound"])
        bound = max(bounds, key=lambda value: way * value) if bounds else None
        # What is known from elsewhere is rounded, so a bound proven here limits it.
        elsewhere = [row["best_known"] for row in group if row["best_known"] is not None]
        if bound is not None:
            elsewhere = [way * max(way * value, way * bound) for value in elsewhere]
        best = _best(plans + elsewhere, way)
        for row in group:
            row["best"], row["proven_bound"] = best, bound
            scored = row["scored_objective"]
            row["gap_to_best"] = _gap_or_none(scored, best, way)
            row["gap_to_bound"] = _gap_or_none(scored, bound, way)
    return list(dict.fromkeys(notes))


def _best(values: Sequence[float], way: float) -> float | None:
    return min(values, key=lambda value: way * value) if values else None


def _gap_or_none(objective: float, reference: float | None, way: float) -> float | None:
    if reference is None or math.isnan(objective):
        return None
    return gap(objective, reference, way)


def write_summary(rows: Iterable[Row], path: Path) -> None:
    """Writes the rows as a JSON list of objects, without actions and curves; an unknown number is
    null.
    """
    light = [
        {key: value for key, value in row.items() if key not in HEAVY}
        | {"violations": row["violations"], "n_actions": len(row["actions"])}
        for row in rows
    ]
    write_bytes(path, (json.dumps(plain(light), indent=1) + "\n").encode())


def write_parquet(rows: Iterable[Row], path: Path) -> None:
    """Writes every row with its actions and curve; settings and versions are JSON texts."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([_flat(row) for row in rows])
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    write_bytes(path, buffer.getvalue())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """One level of columns. Rows of different families hold actions of different shapes, so they
    are JSON too.
    """
    flat = {key: value for key, value in row.items() if key != "detail"}
    flat |= {f"detail.{key}": float(value) for key, value in row["detail"].items()}
    flat["settings"] = json.dumps(row["settings"], sort_keys=True)
    flat["versions"] = json.dumps(row["versions"], sort_keys=True)
    flat["actions"] = json.dumps(row["actions"])
    flat["curve_seconds"] = [float(seconds) for seconds, _ in row["curve"]]
    flat["curve_objective"] = [float(value) for _, value in row["curve"]]
    del flat["curve"]
    return flat
