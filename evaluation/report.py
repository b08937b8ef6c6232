"""Write a comparison's report, HTML and Markdown, from its rows alone."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
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
from .instance_tables import figures, left_out, objectives, over_seeds, with_seeds
from .prose import templates
from .statistics import Standing, standings, time_grid
from .table import PARQUET, SUMMARY, Scored, notes_on, score, write_parquet, write_summary

HTML, MARKDOWN = "report.html", "report.md"
MAX_REASONS = 20
LONG_ENOUGH_S, BUSY_BELOW = 0.1, 0.8
# Instances that pictures choose from: so many at any size, or more in so much memory.
SURELY_DRAWN, MOST_DRAWN, MOST_DRAWN_BYTES = 30, 200, 64 * 2**20


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
        by_instance: objective and further figures over seeds, of the first instances with several.
        more_by_instance: how many instances these are, and where the others are; empty if there
            are no others.
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
    more_by_instance: str
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
    rows, _ = score(played)
    run = folder.read_run()
    if run.get("command") and (nonce := folder.nonce()) and "--nonce" not in run["command"]:
        run["command"] += f" --nonce {nonce}"  # the same worlds again
    sections = [_section(folder, group, world, run) for group, world in _groups(rows)]
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


def _groups(rows: Sequence[Scored]) -> list[tuple[list[Scored], str]]:
    """Group the rows that share a table: same family, objective, kind of world, and settings.

    Returns:
        The groups, each with what its title says of its world: that it moves on, and the settings
        that others of its kind do not have.
    """
    kinds: dict[tuple[Any, ...], dict[tuple[tuple[str, str], ...], list[Scored]]] = {}
    for row in rows:
        key = row.family, row.objective_name, row.direction, row.is_live
        settings = tuple(sorted(row.settings.items()))
        kinds.setdefault(key, {}).setdefault(settings, []).append(row)
    groups = []
    for (*_, is_live), kind in kinds.items():
        shared = set.intersection(*map(set, kind))
        for settings in sorted(kind, key=lambda settings: (len(settings), settings)):
            told = [f"{name}={value}" for name, value in settings if (name, value) not in shared]
            groups.append((kind[settings], ", ".join(["", *["moving world"] * is_live, *told])))
    return groups


def _section(folder: Folder, rows: list[Scored], world: str, run: Mapping[str, Any]) -> Section:
    first = rows[0]
    problem = load_problem(first.family)
    baseline = run.get("baseline", {}).get(first.family, problem.defaults.baseline)
    lines = standings(rows, baseline)
    color = _colors(first.family, lines)
    title = f"{first.family}: {first.objective_name.replace('_', ' ')}{world}"
    sentences = headline(rows, lines, baseline)
    rivals = [line.contender for line in lines if line.role != "oracle"]
    lead = leaders(rows, rivals, time_grid(rows), first.budget_s)
    remarks = _first(notes_on(rows))
    by_instance = over_seeds(rows, lines)
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
        instances=objectives(rows, lines),
        figures=figures(rows, lines, lambda row: row.instance_hash),
        by_instance=by_instance,
        more_by_instance=left_out(len(by_instance), len(with_seeds(rows))),
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
    return _first(lines)


def _first(lines: Sequence[str]) -> list[str]:
    """Return the first lines, and how many there are more."""
    if len(lines) <= MAX_REASONS:
        return list(lines)
    return [*lines[:MAX_REASONS], f"and {len(lines) - MAX_REASONS} more, in {SUMMARY}"]


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
    notes: list[str] = []
    if not places:
        return drawn, notes
    trouble = "The family's own pictures could not be drawn"
    try:
        instances, count = _instances(folder, rows)
    except Exception as error:
        return drawn, [f"{trouble}: {error}."]
    rows = [row for row in rows if row.instance_hash in instances]
    for place in places:
        try:
            drawn += resolve(place)(rows, instances, color)
        except Exception as error:
            notes.append(f"{trouble}: {error}.")
    if drawn and len(instances) < count:
        notes.append(
            f"The family's pictures are of the {len(instances):,} smallest of {count:,} instances."
        )
    return drawn, notes


def _instances(folder: Folder, rows: Sequence[Scored]) -> tuple[dict[str, Any], int]:
    """Load the instances that pictures may show: the smallest, which are the readable ones.

    Each is loaded once. Those without a feasible plan, which cannot be shown, come last.

    Args:
        folder: folder with the rows' instances.
        rows: rows of one family.

    Returns:
        Hash -> instance, in the order of the rows, and the number of all instances.
    """
    first = {row.instance_hash: row for row in reversed(rows)}
    planned = {row.instance_hash for row in rows if row.feasible}
    wanted = sorted(
        dict.fromkeys(row.instance_hash for row in rows),
        key=lambda key: (key not in planned, folder.instance_size(first[key])),
    )
    loaded: dict[str, Any] = {}
    free = MOST_DRAWN_BYTES
    for key in wanted[:MOST_DRAWN]:
        if len(loaded) >= SURELY_DRAWN and free < 0:
            break
        loaded[key] = _called(folder.instance(first[key]), first[key].instance)
        free -= _size(loaded[key])
    order = dict.fromkeys(row.instance_hash for row in rows)
    return {key: loaded[key] for key in order if key in loaded}, len(order)


def _size(instance: Any) -> int:
    """Return about how many bytes an instance takes: its arrays and its names."""
    size = 0
    for each in fields(instance):
        value = getattr(instance, each.name)
        size += value.nbytes if isinstance(value, np.ndarray) else 0
        size += sum(map(sys.getsizeof, value)) if isinstance(value, tuple) else 0
    return size


def _called(instance: Any, name: str) -> Any:
    """Return an instance under another name, unless it has it."""
    return instance if instance.name == name else replace(instance, name=name)


def _how(run: Mapping[str, Any], rows: Sequence[Scored]) -> list[tuple[str, str]]:
    """Return how to reproduce the page, as (label, text) pairs."""
    made = run.get("conditions", {})
    versions = rows[0].versions
    timing = sorted({row.timing for row in rows})
    places = sorted(Counter((row.host, row.processor) for row in rows if row.host).items())
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
        ("Played on", ", ".join(f"{host} ({each}): {n} rows" for (host, each), n in places)),
        ("Processor", f"{made.get('processor', '')}, {made.get('cores', '?')} cores"),
        ("Memory", f"{made.get('memory_gib', '?')} GiB"),
        ("System", str(made.get("system", ""))),
        ("Load at start", str(made.get("load_at_start", ""))),
        ("Commit", str(made.get("commit", ""))),
        ("Environment", ", ".join(sorted({f"{r.family} {r.env_version}" for r in rows}))),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    return [(label, text) for label, text in facts if text.strip()]
