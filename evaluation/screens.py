"""Tables and lines that the commands print."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import OverflowMethod
from rich.table import Table
from rich.text import Text

from ..core.contracts import Throughput
from ..core.printable import printable, shortened
from ..core.problem import Problem
from . import zoo
from .doctor import Finding
from .headline import number, percent, seconds
from .listings import Record
from .recording import Episode
from .records import compared
from .replay import Replayed
from .table import Scored

MOST_SHOWN = 8  # instances with a column each
LONGEST_NAME = 40
COLORS = {"ok": "green", "note": "yellow", "off": "red"}


def listing(found: Mapping[str, Sequence[Record]]) -> list[Table]:
    """Return tables of what `listings.listed` found: families in one, all else by family.

    Args:
        found: kind -> records.
    """
    tables = []
    for kind, records in found.items():
        if kind == "families":
            tables.append(_families(records))
            continue
        families = dict.fromkeys(record["family"] for record in records)
        for family in families:
            own = [record for record in records if record["family"] == family]
            tables.append(_MAKERS[kind](family, own))
    return tables


def _table(title: str, *columns: str, names: Sequence[str] = ()) -> Table:
    """Return a table.

    Args:
        title: its title.
        columns: their headings.
        names: those of the columns whose cells never break over two lines.
    """
    table = Table(
        title=_text(title), title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        whole = column in names
        overflow: OverflowMethod = "ellipsis" if whole else "fold"
        table.add_column(_text(column, "bold cyan"), no_wrap=whole, overflow=overflow)
    return table


def _text(cell: str, style: str = "") -> Text:
    """Return a text as a cell that shows it as it is: rich reads brackets in others as markup."""
    return Text(printable(cell), style)


def _add(table: Table, *cells: str) -> None:
    table.add_row(*map(_text, cells))


def plain_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], names: Sequence[str]
) -> Table:
    """Return a table of texts.

    Args:
        title: its title.
        columns: their headings.
        rows: texts, one a column.
        names: those of the columns whose cells never break over two lines.
    """
    table = _table(title, *columns, names=names)
    for row in rows:
        _add(table, *row)
    return table


def _families(records: Sequence[Record]) -> Table:
    columns = "family", "environment", "version", "what it is"
    fields = "family", "environment", "version", "about"
    rows = ([one[field] for field in fields] for one in records)
    return plain_table("Families", columns, rows, columns[:3])


def _sets(family: str, records: Sequence[Record]) -> Table:
    rows = ([one["set"], one["about"]] for one in records)
    return plain_table(f"Instance sets of {family}", ["set", "what it holds"], rows, ["set"])


def _contenders(family: str, records: Sequence[Record], kind: str) -> Table:
    missing = sum(not one["installed"] for one in records)
    here = f"{missing} not installed" if missing else "all installed"
    column, played = kind.removesuffix("s"), "by default"
    title = f"{kind.capitalize()} of {family} ({here})"
    table = _table(title, column, played, "what it is", names=[column, played])
    for one in records:
        about = _text(one["about"] + (" An oracle." if one["role"] == "oracle" else ""))
        if not one["installed"]:
            about.append(printable(f" Not installed: {one['remedy']}"), "yellow")
        mark = "baseline" if one["baseline"] else "yes" if one["played_by_default"] else ""
        table.add_row(_text(one["name"]), _text(mark), about)
    return table


def _settings(family: str, records: Sequence[Record], what: str) -> Table:
    rows = ([one["name"], one["default"], one["about"]] for one in records)
    columns = "name", "default", "what it means"
    return plain_table(f"{what} of {family}", columns, rows, ["name"])


_MAKERS: Mapping[str, Callable[[str, Sequence[Record]], Table]] = {
    "instances": _sets,
    "solvers": partial(_contenders, kind="solvers"),
    "agents": partial(_contenders, kind="agents"),
    "settings": partial(_settings, what="Settings (--set of compare, solve and data)"),
    "generators": partial(_settings, what="Parameters (--set of data generate)"),
}


def facts(problem: Problem[Any], instances: Sequence[Any], width: int = 80) -> Table:
    """Return a table of facts about instances, one row per fact and one column per instance.

    Args:
        problem: the family.
        instances: those that fit have a column each, the first always.
        width: columns of the screen.
    """
    shown = list(instances[:MOST_SHOWN])
    described = [{"hash": one.content_hash} | problem.describe(one) for one in shown]
    names = [shortened(printable(one.name), LONGEST_NAME) for one in shown]
    labels = dict.fromkeys(key for found in described for key in found)
    taken, count = max(map(len, labels), default=0), 0
    for found, name in zip(described, names, strict=True):
        taken += 2 + max(len(name), *(len(printable(str(value))) for value in found.values()))
        if count and taken > width:
            break
        count += 1
    more = f", the first {count} of {len(instances)}" if len(instances) > count else ""
    table = _table(f"{problem.family}{more}", "", *names[:count], names=names)
    for fact in labels:
        _add(table, fact, *(str(found.get(fact, "")) for found in described[:count]))
    return table


def solved_lines(record: Record) -> list[str]:
    """Return lines on a judged answer: objective, feasibility, seconds and bound.

    Args:
        record: what `records.solved` made of it.
    """
    unit = f" {record['unit']}" if record["unit"] else ""
    late = ", late" if record["late"] else ""
    bound = "none proven" if record["bound"] is None else number(record["bound"])
    objective = math.nan if record["objective"] is None else record["objective"]
    return [
        f"objective: {number(objective)}{unit} ({record['objective_name']}, {record['direction']})",
        f"feasible: {'yes' if record['feasible'] else 'no'}",
        f"seconds: {record['wall_s']:.3f} wall{late}, {record['cpu_s']:.3f} CPU, "
        f"{record['setup_s']:.2f} setup",
        f"bound: {bound}" + (" (proven optimal)" if record["status"] == "optimal" else ""),
        *(f"violation: {text}" for text in record["violations"]),
    ]


def recorded_lines(episodes: Sequence[Episode], written: str) -> list[str]:
    """Return lines on recorded episodes: how many, their steps and returns, and where they are.

    Args:
        episodes: what was recorded.
        written: the file, or Minari's id of the data set.
    """
    steps = sum(len(episode.actions) for episode in episodes)
    gain = sum(sum(episode.rewards) for episode in episodes) / len(episodes)
    ended = sum(episode.terminated for episode in episodes)
    return [
        f"{len(episodes)} episodes, {steps} steps, mean return {gain:.4f}; {ended} ended by the "
        "environment, the others cut off where the plan stops",
        written,
    ]


def result_lines(rows: Sequence[Scored], out: Path) -> list[str]:
    """Return lines on the result of a comparison and the places of its files.

    Args:
        rows: the comparison's rows.
        out: the comparison's folder.
    """
    found = compared(rows, out)
    failed = f", {found['failed']} of them failed" if found["failed"] else ""
    ranked = [one for one in found["contenders"] if one["gap_to_best"] is not None]
    widest = max((len(one["contender"]) for one in ranked), default=0)
    best_first = [
        f"  {one['family']}  {one['contender']:<{widest}} gap to best "
        f"{percent(one['gap_to_best']):>9}  {seconds(one['wall_s']):>8} a plan"
        f"{'  (oracle, out of competition)' if one['role'] == 'oracle' else ''}"
        for one in ranked
    ]
    return [
        f"{found['rows']} rows{failed}",
        *best_first,
        f"report: {found['report']}, {found['markdown']}",
        f"rows: {found['table']}, {found['summary']}",
    ]


def replay_lines(found: Sequence[Replayed]) -> list[str]:
    """Return lines on whether all rows agree with the judge's new result, and which do not."""
    if not found:
        return []
    off = [judged for judged in found if not judged.agrees]
    lines = [
        f"{judged.row.contender} on {judged.row.instance}, seed {judged.row.seed}: {judged.why}"
        for judged in off
    ]
    if off:
        return [*lines, f"replay: {len(off)} of {len(found)} rows do not agree"]
    return [f"replay: all {len(found)} rows agree"]


def speeds(found: dict[str, list[Throughput]]) -> list[Table]:
    """Return tables of speeds with their ratios to the references, one for each name.

    Args:
        found: name of each family or benchmark -> its speeds.
    """
    tables = []
    for family, measured in found.items():
        columns = "what", "speed", "ratio", "reference"
        table = _table(f"Throughput of {family}", *columns, names=["speed", "ratio"])
        for speed in measured:
            _add(
                table,
                speed.name,
                f"{_figure(speed.per_second)} {speed.unit} ± {percent(speed.spread)}",
                f"{speed.ratio:,.1f}x",
                f"{speed.reference}: {_figure(speed.reference_per_second)}",
            )
        tables.append(table)
    return tables


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def health(findings: Sequence[Finding]) -> Table:
    """Return a table of the doctor's findings, with remedies."""
    table = _table("Doctor", "", "what", "found", "remedy")
    for finding in findings:
        mark = _text(finding.health, COLORS[finding.health])
        table.add_row(mark, *map(_text, (finding.what, finding.text, finding.remedy)))
    return table


def zoo_tables(policies: Sequence[Record]) -> list[Table]:
    """Return a table of facts and scores for each shipped policy.

    Args:
        policies: what `zoo.policies` found.
    """
    tables = []
    for one in policies:
        start = f", from {one['start']}" if one["start"] else ""
        rows = [
            ["family", one["family"]],
            ["network", f"{one['network']} of width {one['width']}, {zoo.size(one['bytes'])}"],
            ["command", shortened(printable(one["command"]), zoo.LONGEST_COMMAND)],
            ["trained by", f"{', '.join(one['stages'])}; taken at {one['taken_at']}{start}"],
            ["trained on", zoo.sets_text(one["training_sets"])],
            ["chosen on", zoo.sets_text(one["validation_sets"])],
            ["steps, seed", f"{zoo.steps_text(one)}, {one['seed']}"],
        ]
        for score in one["scores"]:
            player, where, objective, solver, better, record, _ = zoo.score_texts(score)
            unit = f" {score['unit']}" if score["unit"] else ""
            text = (
                f"{objective}{unit}, played by {player} in {score['budget_s']:g} s; {solver}; "
                f"better by {better}; won, tied, lost {record}"
            )
            rows.append([where, text])
        if not one["scores"]:
            rows.append(["scores", "none yet, see docs/zoo.md"])
        tables.append(plain_table(one["policy"], ["", ""], rows, []))
    return tables
