"""The table of results: rows with their gaps, and its file formats."""

from __future__ import annotations

import io
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..core.files import write_bytes
from ..core.results import Row, Status, plain

SUMMARY, PARQUET = "summary.json", "results.parquet"
HEAVY = ("actions", "curve")
ROWS_AT_ONCE, STEPS_AT_ONCE = 500, 1_000_000  # in a row group of the parquet file
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(Row):
    """A row with its gaps to the other rows of its comparison."""

    best: float | None
    """Best objective that counts on the instance, in `unit`, or None."""
    proven_bound: float | None
    """Tightest bound that a contender proved on the instance, in `unit`, or None."""
    gap_to_best: float | None
    """Relative distance of `scored_objective` from `best`, above 0 where worse, or None."""
    gap_to_bound: float | None
    """Relative distance of `scored_objective` from `proven_bound`, or None."""


def gap(objective: float, reference: float, sign: float) -> float:
    """Return the relative distance to a reference, above 0 if the objective is worse.

    Args:
        objective: the objective to compare.
        reference: the objective it is compared with; if it is 0, the distance is absolute.
        sign: 1.0 if less is better, -1.0 if more is.
    """
    scale = abs(reference) if abs(reference) > 1e-9 else 1.0
    return sign * (objective - reference) / scale


def score(rows: Iterable[Row]) -> tuple[list[Scored], list[str]]:
    """Compare each row with the others of the same instance.

    A gap is that of the objective that the row is ranked by. Failed runs of families whose null
    plan is infeasible rank with the worst run in the same world. The best is taken over all
    feasible plans except oracles', and objectives known from elsewhere. The bound is the tightest
    that any contender proved; none holds in a live world, nor one that a feasible plan beats.

    Args:
        rows: rows of one comparison.

    Returns:
        The rows with their gaps, in the same order, and a sentence for each claim that does not
        stand.
    """
    groups: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    checked = standing_claims(rows)
    for row in checked:
        groups[row.world].append(row)
    references = {}
    for world, group in groups.items():
        sign = group[0].sign
        bound = _best([row.bound for row in group if row.bound is not None], -sign)
        plans = [row.objective for row in group if row.feasible and row.role != "oracle"]
        # Objectives known from elsewhere are rounded, so a bound proven here limits them.
        known = [row.best_known for row in group if row.best_known is not None]
        if bound is not None:
            known = [sign * max(sign * value, sign * bound) for value in known]
        ranked = [row.scored_objective for row in group if not math.isnan(row.scored_objective)]
        worst = max(ranked, key=lambda value: sign * value, default=math.nan)
        references[world] = _best(plans + known, sign), bound, worst
    return [_scored(row, *references[row.world]) for row in checked], notes_on(checked)


def notes_on(rows: Iterable[Row]) -> list[str]:
    """Return a sentence for each claim that does not stand."""
    notes = [f"{row.contender} on {row.instance}: {row.note}." for row in rows if row.note]
    return list(dict.fromkeys(notes))


def standing_claims(rows: Iterable[Row]) -> list[Row]:
    """Return the rows, without the bounds and proofs that a feasible plan contradicts.

    A note says so in the row that made the claim and in the one whose plan is better. No claim
    stands in a live world.

    Args:
        rows: rows of one comparison.
    """
    rows = list(rows)
    best: dict[tuple[str, str, int], Row] = {}
    for row in rows:
        if row.feasible and row.role != "oracle":
            held = best.get(row.world)
            if held is None or row.sign * row.objective < held.sign * held.objective:
                best[row.world] = row
    beaten = [
        row for row in rows
        if row.bound is not None and row.world in best and not row.is_live
        and gap(best[row.world].objective, row.bound, row.sign) < -TOLERANCE
    ]  # fmt: skip
    notes: dict[int, list[str]] = defaultdict(list)
    for row in beaten:
        better = best[row.world]
        notes[id(row)].append(
            f"claims that no plan is better than {row.bound:.6g}, yet {better.contender} has one "
            f"of {better.objective:.6g}: neither bound nor proof counts"
        )
        if better is not row:
            notes[id(better)].append(
                f"its plan of {better.objective:.6g} is better than the bound of {row.bound:.6g} "
                f"that {row.contender} claims"
            )
    lost = {id(row) for row in beaten}
    return [_noted(row, notes[id(row)], id(row) in lost) for row in rows]


def _noted(row: Row, notes: Sequence[str], lost: bool) -> Row:
    """Return a row with further notes, and without its bound and proof if it has lost them."""
    bound = None if lost or row.is_live else row.bound
    status: Status = "feasible" if lost and row.status == "optimal" else row.status
    note = "; ".join([*filter(None, [row.note]), *notes])
    return replace(row, bound=bound, status=status, note=note)


def _best(values: Sequence[float], sign: float) -> float | None:
    return min(values, key=lambda value: sign * value, default=None)


def _scored(row: Row, best: float | None, bound: float | None, worst: float) -> Scored:
    values = {each.name: getattr(row, each.name) for each in fields(Row)}
    ranked_by = worst if math.isnan(row.scored_objective) else row.scored_objective
    values["scored_objective"] = ranked_by
    gaps = [
        None if reference is None or math.isnan(ranked_by) else gap(ranked_by, reference, row.sign)
        for reference in (best, bound)
    ]
    return Scored(
        **values, best=best, proven_bound=bound, gap_to_best=gaps[0], gap_to_bound=gaps[1]
    )


def write_summary(rows: Iterable[Scored], path: Path) -> None:
    """Write the rows as a JSON list of objects, without actions and curves.

    Args:
        rows: rows of one comparison.
        path: the file.
    """
    names = [each.name for each in fields(Scored) if each.name not in HEAVY]
    texts = []
    for row in rows:
        light = {name: plain(getattr(row, name)) for name in names}
        text = json.dumps(light | {"n_actions": len(row.actions)}, indent=1)
        texts.append(text.replace("\n", "\n "))
    write_bytes(path, ("[\n " + ",\n ".join(texts) + "\n]\n").encode())


def write_parquet(rows: Iterable[Scored], path: Path) -> None:
    """Write all rows with actions and curves; what differs in keys or shapes is a JSON text.

    Args:
        rows: rows of one comparison.
        path: the file.
    """
    import pyarrow
    import pyarrow.parquet

    rows = list(rows)
    columns = {name: pyarrow.array(values) for name, values in _columns(rows)}
    columns["actions"] = pyarrow.nulls(len(rows), pyarrow.string())
    light = pyarrow.table(columns)
    at = light.schema.get_field_index("actions")
    buffer = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(buffer, light.schema) as writer:
        start = 0
        for end in _ends([len(row.actions) for row in rows]):
            # Of whole numbers, so that nothing needs `plain`.
            texts = [json.dumps(list(row.actions)) for row in rows[start:end]]
            part = light.slice(start, end - start)
            writer.write_table(part.set_column(at, "actions", pyarrow.array(texts)))
            start = end
    write_bytes(path, buffer.getvalue())


def _ends(steps: Sequence[int]) -> Iterator[int]:
    """Yield where parts of a table end whose plans are in memory at once.

    Args:
        steps: number of actions of each row.
    """
    held = begun = 0
    for at, count in enumerate(steps):
        held += count
        if held > STEPS_AT_ONCE or at + 1 - begun >= ROWS_AT_ONCE or at + 1 == len(steps):
            yield at + 1
            held, begun = 0, at + 1


def _columns(rows: Sequence[Scored]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the table's columns: one for each further figure, two for the curve.

    Actions are left empty.
    """
    names = [each.name for each in fields(Scored) if each.name not in ("detail", "curve")]
    for name in names:
        form = FORMS.get(name, _encodable)
        yield name, [None if name == "actions" else form(getattr(row, name)) for row in rows]
    for name in dict.fromkeys(name for row in rows for name in row.detail):
        yield f"detail.{_encodable(name)}", [row.detail.get(name) for row in rows]
    for at, name in enumerate(("seconds", "objective")):
        yield f"curve_{name}", [[point[at] for point in row.curve] for row in rows]


def _as_text(value: Any) -> str:
    """Return a value whose keys or shapes differ from row to row as a JSON text."""
    return json.dumps(plain(value), sort_keys=True)


def _encodable(value: Any) -> Any:
    """Return a text, or each of a list, without halves of surrogate pairs, which UTF-8 has not."""
    if isinstance(value, list):
        return [_encodable(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


# How fields are written that parquet does not take as they are.
FORMS: Mapping[str, Callable[[Any], Any]] = {
    "settings": _as_text,
    "versions": _as_text,
    "provenance": _as_text,
    "violations": lambda texts: _encodable(list(texts)),
}
