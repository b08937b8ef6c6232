"""Tables and lines that the commands print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ..core.contracts import Role, Throughput
from ..core.printable import printable
from ..core.problem import Problem
from ..core.registry import contender_names, family_names, load_problem
from .doctor import Finding
from .headline import number, percent, seconds
from .recording import Episode
from .replay import Replayed
from .report import HTML, MARKDOWN
from .single import Solved
from .table import PARQUET, SUMMARY, Scored

COLORS = {"ok": "green", "note": "yellow", "off": "red"}


def listing(what: str | None) -> list[Table]:
    """Return tables of families, instance sets, solvers and agents.

    Args:
        what: "families", "instances", "solvers" or "agents"; None for all of them.
    """
    makers = {
        "families": _families,
        "instances": _instances,
        "solvers": _solvers,
        "agents": _agents,
    }
    return [make() for name, make in makers.items() if what in (None, name)]


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=_text(title), title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        table.add_column(_text(column, "bold cyan"), overflow="fold")
    return table


def _text(cell: str, style: str = "") -> Text:
    """Return a text as a cell that shows it as it is: rich reads brackets in others as markup."""
    return Text(printable(cell), style)


def _add(table: Table, *cells: str) -> None:
    table.add_row(*map(_text, cells))


def _families() -> Table:
    table = _table("Families", "family", "environment", "what it is")
    for family in family_names():
        problem = load_problem(family)
        _add(table, family, f"{problem.env_id} (version {problem.env_version})", problem.title)
    return table


def _instances() -> Table:
    table = _table("Instance sets", "family", "set", "what it holds")
    for family in family_names():
        for name, line in load_problem(family).sets.items():
            _add(table, family, name, line)
    return table


def _solvers() -> Table:
    table = _table("Solvers", "family", "solver", "played by default")
    return _contenders(table, ("solver", "oracle"))


def _agents() -> Table:
    table = _table("Agents", "family", "agent", "played by default")
    return _contenders(table, ("agent",))


def _contenders(table: Table, roles: Sequence[Role]) -> Table:
    for family in family_names():
        defaults = load_problem(family).defaults
        played = {*defaults.contenders, *defaults.always, defaults.baseline}
        for role in roles:
            for name in contender_names(family, role):
                mark = "yes" if name in played else ""
                _add(table, family, name, "baseline" if name == defaults.baseline else mark)
    return table


def facts(problem: Problem[Any], instances: Sequence[Any]) -> Table:
    """Return a table of facts about instances, one row per fact.

    Args:
        problem: the family.
        instances: the first eight have a column each.
    """
    shown = list(instances[:8])
    described = [{"hash": instance.content_hash} | problem.describe(instance) for instance in shown]
    more = f", the first {len(shown)} of {len(instances)}" if len(instances) > len(shown) else ""
    names = (instance.name for instance in shown)
    table = _table(f"{problem.family}{more}", "", *names)
    for fact in dict.fromkeys(key for facts in described for key in facts):
        _add(table, fact, *(str(facts.get(fact, "")) for facts in described))
    return table


def solved_lines(problem: Problem[Any], instance: Any, solved: Solved) -> list[str]:
    """Return lines on a judged answer: objective, feasibility, seconds and bound.

    Args:
        problem: the family.
        instance: the instance with its settings applied.
        solved: the answer.
    """
    objective, file, found = problem.objective(instance), solved.file, solved.answer.found
    unit = f" {objective.unit}" if objective.unit else ""
    late = ", late" if solved.answer.late else ""
    lines = [
        f"objective: {number(found.objective)}{unit} ({objective.name}, {objective.direction})",
        f"feasible: {'yes' if found.feasible else 'no'}",
        f"seconds: {file.wall_s:.3f} wall{late}, {solved.cpu_s:.3f} CPU, {solved.setup_s:.2f} "
        "setup",
        f"bound: {number(file.bound) if file.bound is not None else 'none proven'}"
        + (" (proven optimal)" if file.status == "optimal" else ""),
    ]
    return [*lines, *(f"violation: {text}" for text in found.violations)]


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
    failed = sum(row.failed for row in rows)
    lines = [f"{len(rows)} rows, {failed} of them failed"] if failed else [f"{len(rows)} rows"]
    best: dict[tuple[str, str], list[Scored]] = {}
    for row in rows:
        best.setdefault((row.family, row.contender), []).append(row)
    ranked: list[tuple[str, bool, float, str, float | None]] = []
    for (family, contender), runs in best.items():
        gaps = [row.gap_to_best for row in runs if row.gap_to_best is not None]
        if gaps:
            walls = sorted(row.wall_s for row in runs if row.wall_s is not None)
            middle = walls[len(walls) // 2] if walls else None
            oracle = runs[0].role == "oracle"
            ranked.append((family, oracle, sum(gaps) / len(gaps), contender, middle))
    widest = max((len(contender) for _, _, _, contender, _ in ranked), default=0)
    best_first = [
        f"  {family}  {contender:<{widest}} gap to best {percent(gap):>9}  "
        f"{seconds(wall):>8} a plan"
        f"{'  (oracle, out of competition)' if oracle else ''}"
        for family, oracle, gap, contender, wall in sorted(ranked, key=lambda item: item[:3])
    ]
    return [
        *lines,
        *best_first,
        f"report: {out / HTML}, {out / MARKDOWN}",
        f"rows: {out / PARQUET}, {out / SUMMARY}",
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


def speeds(found: dict[str, list[Throughput]]) -> Table:
    """Return a table of speeds with their ratios to the references.

    Args:
        found: name of each family or benchmark -> its speeds.
    """
    table = _table("Throughput", "family", "what", "speed", "reference", "its speed", "ratio", "±")
    for family, measured in found.items():
        for speed in measured:
            _add(
                table,
                family,
                speed.name,
                f"{_figure(speed.per_second)} {speed.unit}",
                speed.reference,
                _figure(speed.reference_per_second),
                f"{speed.ratio:,.1f}x",
                percent(speed.spread),
            )
    return table


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def health(findings: Sequence[Finding]) -> Table:
    """Return a table of the doctor's findings, with remedies."""
    table = _table("Doctor", "", "what", "found", "remedy")
    for finding in findings:
        mark = _text(finding.health, COLORS[finding.health])
        table.add_row(mark, *map(_text, (finding.what, finding.text, finding.remedy)))
    return table
