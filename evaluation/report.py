"""Write a comparison's report, HTML and Markdown, from its rows alone."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.contracts import Picture
from ..core.errors import MissingDependencyError, OutputError
from ..core.files import write_bytes
from ..core.lookup import resolve
from ..core.printable import labels
from ..core.registry import contender_names, load_problem, pictures_of
from .cells import Folder, check_versions
from .headline import headline, interval, leaders, number, percent, seconds
from .prose import templates
from .statistics import Standing, mean, standings, time_grid
from .table import PARQUET, SUMMARY, Scored, score, write_parquet, write_summary

HTML, MARKDOWN = "report.html", "report.md"
MAX_REASONS = 20
LONG_ENOUGH_S, BUSY_BELOW = 0.1, 0.8


@dataclass(frozen=True, slots=True)
class Section:
    """One family's part of the report; rows of different objectives make different sections.

    Attributes:
        title: heading.
        anchor: id of the heading in HTML.
        about: line below the heading.
        sentences: the headline, one sentence per bullet.
        columns: headings of the table.
        lines: rows of the table, one per contender.
        who: what each contender is, by column; see `_who`.
        notes: remarks below the table.
        plots: pictures as SVG, with their captions.
        instances: objectives by instance and contender.
        figures: the family's further figures by contender.
        by_instance: objective and further figures over seeds, per instance.
        reasons: why runs failed.
        pictures: the family's own pictures.
    """

    title: str
    anchor: str
    about: str
    sentences: list[str]
    columns: list[str]
    lines: list[dict[str, Any]]
    who: list[dict[str, str]]
    notes: list[str]
    plots: list[dict[str, str]]
    instances: dict[str, Any]
    figures: dict[str, Any]
    by_instance: list[dict[str, Any]]
    reasons: list[str]
    pictures: list[Picture]


def check_installed() -> None:
    """Check that a report can be written, before anything is played.

    Raises:
        MissingDependencyError: the extra [report] is not installed.
    """
    for name in ("jinja2", "matplotlib", "pyarrow", "scipy"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"a report needs {name}; install it with pip install 'sysopt-gym[report]'"
            )


def write_report(folder: Folder) -> list[Scored]:
    """Write results.parquet, summary.json, report.md and report.html into a folder of results.

    Returns:
        The rows with their gaps, in the order of the report.

    Raises:
        OutputError: the folder holds no rows, or rows that are not comparable.
        MissingDependencyError: the extra [report] is not installed.
    """
    check_installed()
    played = list(folder.rows().values())
    if not played:
        raise OutputError(f"{folder.path}: holds no results; `sysopt-gym compare --out` makes some")
    check_versions(played, folder.path)
    rows, notes = score(played)
    run = folder.read_run()
    if run.get("command") and (nonce := folder.nonce()) and "--nonce" not in run["command"]:
        run["command"] += f" --nonce {nonce}"  # the same worlds again
    sections = [_section(folder, group, run, notes) for group in _groups(rows)]
    write_summary(rows, folder.path / SUMMARY)
    write_parquet(rows, folder.path / PARQUET)
    facts = {"sections": sections, "run": run, "how": _how(run, rows), "rows": len(rows)}
    write_pages("report", facts, folder.path)
    return rows


def write_pages(name: str, facts: Mapping[str, Any], folder: Path) -> None:
    """Write report.html and report.md.

    Args:
        name: of the templates.
        facts: what they show.
        folder: where the pages go.
    """
    for form, file in (("html", HTML), ("md", MARKDOWN)):
        page = templates(form).get_template(f"{name}.{form}.j2").render(**facts)
        write_bytes(folder / file, page.encode())


def _groups(rows: Sequence[Scored]) -> list[list[Scored]]:
    """Group the rows that share a table: same family, objective, and kind of world."""
    groups: dict[tuple[Any, ...], list[Scored]] = {}
    for row in rows:
        key = row.family, row.objective_name, row.direction, row.is_live
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _section(
    folder: Folder, rows: list[Scored], run: Mapping[str, Any], notes: Sequence[str]
) -> Section:
    first = rows[0]
    problem = load_problem(first.family)
    baseline = run.get("baseline", {}).get(first.family, problem.defaults.baseline)
    lines = standings(rows, baseline)
    color = _colors(first.family, lines)
    world = ", moving world" if first.is_live else ""
    title = f"{first.family}: {first.objective_name.replace('_', ' ')}{world}"
    sentences = headline(rows, lines, baseline)
    rivals = [line.contender for line in lines if line.role != "oracle"]
    lead = leaders(rows, rivals, time_grid(rows), first.budget_s)
    remarks = [note for note in notes if any(row.instance in note for row in rows)]
    drawn = _as_drawn(rows, lines, color)
    pictures, trouble = _pictures(folder, drawn.rows, drawn.color, pictures_of(problem))
    remarks += trouble
    remarks += _busy(rows)
    timing = sorted({row.timing for row in rows})
    if len(timing) > 1:
        remarks.append(f"Timing conditions are mixed: {'; '.join(timing)}.")
    return Section(
        title=title,
        anchor=re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        about=problem.title,
        sentences=[*sentences, lead] if lead else sentences,
        columns=_columns(baseline),
        lines=[_line(line, color) for line in lines],
        who=[found for line in lines if (found := _who(rows, line.contender))],
        notes=remarks,
        plots=_plots(drawn.rows, drawn.lines, drawn.color),
        instances=_instances(rows, lines),
        figures=_figures(rows, lines, lambda row: row.instance_hash),
        by_instance=_by_instance(rows, lines),
        reasons=_reasons(rows),
        pictures=pictures,
    )


def _busy(rows: Sequence[Scored]) -> list[str]:
    """Return a warning for contenders that got much less than a core, which slows them down."""
    shares = [
        row.cpu_s / row.wall_s
        for row in rows
        if row.cpu_s is not None and row.wall_s is not None and row.wall_s > LONG_ENOUGH_S
    ]
    if not shares or np.median(shares) >= BUSY_BELOW:
        return []
    return [
        f"The machine was busy, or contenders waited: the median run got {np.median(shares):.0%} "
        "of a core. Plans and late runs may be the worse for it; run the comparison again on a "
        "quiet "
        "machine before deciding."
    ]


def _colors(family: str, lines: Sequence[Standing]) -> dict[str, str]:
    """Return the color of each contender, the same in every report."""
    from .plots import colors

    names = contender_names(family)
    shown = [line.contender for line in lines]
    return colors(names + [name for name in shown if name not in names], shown)


def _columns(baseline: str) -> list[str]:
    return [
        "contender", "role", "objective, IQM", "average rank", "gap to best", "gap to bound",
        f"better than {baseline}", "won / tied / lost", "wall", "CPU", "proven", "failed",
    ]  # fmt: skip


def _line(line: Standing, color: Mapping[str, str]) -> dict[str, Any]:
    """Return the table's row of a contender; a cell is a text and a second, smaller one."""
    failed = ", ".join(f"{count} {status}" for status, count in sorted(line.failures.items()))
    longest = f"max {seconds(line.wall_max_s)}" if line.wall_max_s and line.runs > 1 else ""
    return {
        "color": color[line.contender],
        "failed": bool(line.failures),
        "oracle": line.role == "oracle",
        "cells": [
            (line.contender, ""),
            (line.role, "plays closed loop" if line.player else ""),
            (number(line.objective.value), interval(line.objective) or "one instance"),
            (_rank(line), _ranks(line)),
            (percent(line.gap_to_best), ""),
            (percent(line.gap_to_bound), ""),
            (percent(line.advantage.value), interval(line.advantage, "percent")),
            (f"{line.wins} / {line.ties} / {line.losses}", ""),
            (seconds(line.wall_s), longest),
            (seconds(line.cpu_s), f"setup {seconds(line.setup_s)}"),
            (f"{line.proven_optimal} of {line.runs}", ""),
            (failed or "0", ""),
        ],
    }


def _who(rows: Sequence[Scored], contender: str) -> dict[str, str]:
    """Return what a contender is; {} where its rows do not say.

    Args:
        rows: rows of the family.
        contender: name of the contender.

    Returns:
        contender; what: in words; version: of its distribution, or the hash of its policy or file;
        seed, steps: of its policy's training.
    """
    made = next(row.provenance for row in rows if row.contender == contender)
    if not made:
        return {}
    place = made.get("entry_point", "")
    version = " ".join(made[key] for key in ("distribution", "version") if key in made)
    what = place
    if "policy" in made:
        by = f" by {made['algorithm']}" if made.get("algorithm") else ""
        what = f"policy {made['policy']} ({made.get('network', '')}{by}), played by {place}"
        version = made.get("hash", "")
    elif "file_hash" in made:
        what, version = f"function {place}", made["file_hash"]
    steps = made.get("steps", "")
    return {
        "contender": contender,
        "what": what,
        "version": version or "–",
        "seed": made.get("seed", ""),
        "steps": f"{int(steps):,}" if steps.isdigit() and int(steps) else "",
    }


def _rank(line: Standing) -> str:
    return "–" if np.isnan(line.rank.value) else f"{line.rank.value:.1f}"


def _ranks(line: Standing) -> str:
    low, high = line.rank.low, line.rank.high
    return "" if low is None or high is None else f"[{low:.1f}, {high:.1f}]"


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Rows, standings and colors with contenders and instances called by their labels."""

    rows: list[Scored]
    lines: list[Standing]
    color: dict[str, str]


def _as_drawn(
    rows: Sequence[Scored], lines: Sequence[Standing], color: Mapping[str, str]
) -> _Drawn:
    """Call contenders and instances by labels that drawings can hold; ordinary names stay."""
    label = labels(line.contender for line in lines)
    place = labels(row.instance for row in rows)
    return _Drawn(
        [
            replace(row, contender=label[row.contender], instance=place[row.instance])
            for row in rows
        ],
        [replace(line, contender=label[line.contender]) for line in lines],
        {label[name]: shade for name, shade in color.items() if name in label},
    )


def _plots(
    rows: Sequence[Scored], lines: Sequence[Standing], color: Mapping[str, str]
) -> list[dict[str, str]]:
    from .plots import anytime_plot, cost_plot

    budget_s = rows[0].budget_s
    return [
        {
            "title": "Objective against inference time",
            "caption": "What a plan is worth and what it costs: IQM over instances with its 95 % "
            "interval, "
            "against median wall seconds. The dashed line is the budget.",
            "svg": cost_plot(rows, lines, color, budget_s),
        },
        {
            "title": "Anytime curves",
            "caption": "How far the plan in hand is from the best one known, had the contender "
            "been stopped "
            "at that second; the mean over instances. A curve starts at the first plan.",
            "svg": anytime_plot(rows, lines, color, budget_s),
        },
    ]


def _figures(
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
    table = []
    for line in lines:
        own = [row for row in found if row.contender == line.contender]
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


def _by_instance(rows: Sequence[Scored], lines: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return objective and further figures over seeds, for instances played with several seeds."""
    rows = [replace(row, detail={row.objective_name: row.objective, **row.detail}) for row in rows]
    tables = []
    for key in dict.fromkeys(row.instance_hash for row in rows):
        own = [row for row in rows if row.instance_hash == key]
        if len({row.seed for row in own}) > 1:
            figures = _figures(own, lines, lambda row: row.seed)
            tables.append({"name": own[0].instance, "figures": figures})
    return tables


def _instances(rows: Sequence[Scored], lines: Sequence[Standing]) -> dict[str, Any]:
    """Return the scored objective by instance and contender, the mean over seeds.

    An oracle's is never marked as the best.
    """
    sign = rows[0].sign
    names = [line.contender for line in lines]
    rivals = [line.contender for line in lines if line.role != "oracle"]
    table = []
    hashes = dict.fromkeys(row.instance_hash for row in rows)
    order = sorted(hashes, key=lambda h: next(r.instance for r in rows if r.instance_hash == h))
    for key in order:
        here = [row for row in rows if row.instance_hash == key]
        values = {
            name: [row.scored_objective for row in here if row.contender == name] for name in names
        }
        means = {name: float(np.mean(found)) for name, found in values.items() if found}
        finite = [sign * means[name] for name in rivals if not np.isnan(means.get(name, np.nan))]
        top = min(finite) if finite else np.nan
        bound = here[0].proven_bound
        table.append(
            {
                "name": here[0].instance,
                "hash": key,
                "nothing": number(float(np.mean([row.null_objective for row in here]))),
                "bound": number(bound),
                "cells": [
                    {
                        "text": number(means.get(name)),
                        "best": name in rivals
                        and name in means
                        and sign * means[name] <= top + 1e-9,
                        "failed": any(row.contender == name and row.failed for row in here),
                    }
                    for name in names
                ],
            }
        )
    return {"names": names, "rows": table}


def _reasons(rows: Sequence[Scored]) -> list[str]:
    """Return why runs failed, one text for all runs that failed for the same reason."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.failed:
            reason, place = row.failure_reason, f"{row.instance} (seed {row.seed})"
            if row.status == "late":  # the seconds in its reason differ from run to run
                reason, place = "", f"{place} {reason}"
            found.setdefault((row.contender, row.status, reason), []).append(place)
    lines = []
    for (contender, status, reason), places in found.items():
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        why = f": {reason}" if reason else ""
        lines.append(f"{contender} {status} on {', '.join(places[:3])}{more}{why}")
    if len(lines) > MAX_REASONS:
        lines = [*lines[:MAX_REASONS], f"and {len(lines) - MAX_REASONS} more, in {SUMMARY}"]
    return lines


def _pictures(
    folder: Folder, rows: list[Scored], color: Mapping[str, str], places: Sequence[str]
) -> tuple[list[Picture], list[str]]:
    """Draw the family's own pictures; an error in one of them must not lose the report.

    Args:
        folder: folder with the rows' instances.
        rows: rows of the family.
        color: contender -> color.
        places: places of the functions that draw; see `Problem.pictures`.

    Returns:
        The pictures, and a sentence for each function that failed.
    """
    from .plots import load_pyplot

    load_pyplot()  # which takes names as they are
    drawn: list[Picture] = []
    notes = []
    for place in places:
        try:
            instances = {
                row.instance_hash: _called(folder.instance(row), row.instance) for row in rows
            }
            drawn += resolve(place)(rows, instances, color)
        except Exception as error:
            notes.append(f"The family's own pictures could not be drawn: {error}.")
    return drawn, notes


def _called(instance: Any, name: str) -> Any:
    """Return an instance under another name, unless it has it."""
    return instance if instance.name == name else replace(instance, name=name)


def _how(run: Mapping[str, Any], rows: Sequence[Scored]) -> list[tuple[str, str]]:
    """Return how to reproduce the page, as (label, text) pairs."""
    made = run.get("conditions", {})
    versions = rows[0].versions
    timing = sorted({row.timing for row in rows})
    threads = "one thread each (OMP, MKL, OpenBLAS, numba and torch set to 1)"
    facts = [
        ("Command", str(run.get("command", ""))),
        ("Budget", f"{rows[0].budget_s:g} s of wall time a plan; late above 5 % + 0.02 s more"),
        ("Timing", f"{'; '.join(timing)}; {threads}"),
        ("Settings", ", ".join(f"{k}={v}" for k, v in rows[0].settings.items()) or "as given"),
        (
            "Seeds",
            f"contender seeds 0 to {max(row.seed for row in rows)}; world seeds in each row",
        ),
        ("Processor", f"{made.get('processor', '')}, {made.get('cores', '?')} cores"),
        ("Memory", f"{made.get('memory_gib', '?')} GiB"),
        ("System", str(made.get("system", ""))),
        ("Load at start", str(made.get("load_at_start", ""))),
        ("Commit", str(made.get("commit", ""))),
        ("Environment", ", ".join(sorted({f"{r.family} {r.env_version}" for r in rows}))),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    return [(label, text) for label, text in facts if text.strip()]
