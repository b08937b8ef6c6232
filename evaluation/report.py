"""Write a comparison's report, HTML and Markdown, from its rows alone."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.contracts import Picture
from ..core.errors import MissingDependencyError, OutputError
from ..core.files import write_bytes
from ..core.printable import labels
from ..core.registry import contender_names, load_problem, pictures_of
from .cells import Folder, check_versions
from .family_pictures import family_pictures, shown_instances
from .headline import headline, interval, leaders, number, percent, seconds
from .instance_tables import figures, left_out, objectives, over_seeds, with_seeds
from .plans import best_plans
from .prose import plain_sentence, templates
from .statistics import Standing, standings, time_grid
from .table import PARQUET, SUMMARY, Scored, notes_on, score, write_parquet, write_summary
from .verdict import COLUMNS as VERDICT
from .verdict import overall, verdict

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
        verdict: the section's line in the page's first table; see `verdict`.
        sentences: the headline, one sentence per bullet; the first says who wins.
        inside: what the section holds, counted.
        columns: headings of the table.
        lines: rows of the table, one per contender.
        who: what each contender is, by column; see `_who`.
        notes: remarks, folded below the table.
        plots: pictures as SVG, with their captions.
        instances: objectives by instance and contender.
        figures: the family's further figures by contender.
        by_instance: objective and further figures over seeds, of the first instances with several.
        more_by_instance: how many instances these are, and where the others are; empty if there
            are no others.
        reasons: why runs failed.
        failed: number of runs that failed.
        pictures: the family's own pictures.
        plans: the best plans of some instances.
        links: hash of an instance -> where else it is on the page, as (id, label) pairs.
    """

    title: str
    anchor: str
    about: str
    verdict: dict[str, Any]
    sentences: list[str]
    inside: str
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
    failed: int
    pictures: list[Picture]
    plans: list[dict[str, Any]]
    links: dict[str, list[tuple[str, str]]]


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
    facts = {
        "sections": sections,
        "verdict_columns": VERDICT,
        "overall": overall([section.verdict for section in sections]),
        "run": run,
        "how": _how(run, rows),
        "rows": len(rows),
    }
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
    anchor = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    sentences = headline(rows, lines, baseline)
    rivals = [line.contender for line in lines if line.role != "oracle"]
    lead = leaders(rows, rivals, time_grid(rows), first.budget_s)
    by_instance = over_seeds(rows, lines)
    drawn = _as_drawn(rows, lines, color)
    places = pictures_of(problem)
    instances, missing = shown_instances(folder, drawn.rows)
    pictures, trouble = family_pictures(drawn.rows, instances, drawn.color, places)
    remarks = _first(notes_on(rows)) + (missing if places else []) + trouble + _busy(rows)
    timing = sorted({row.timing for row in rows})
    if len(timing) > 1:
        remarks.append(f"Timing conditions are mixed: {'; '.join(timing)}.")
    plots = _plots(drawn.rows, drawn.lines, drawn.color, lead)
    plans = best_plans(rows, instances, problem)
    failed = sum(row.failed for row in rows)
    counts = {
        "contender": len(lines),
        "plot": len(plots),
        "instance": len({row.instance_hash for row in rows}),
        "picture": len(pictures),
        "plan": len(plans),
        "note": len(remarks),
        "failed run": failed,
    }
    return Section(
        title=title,
        anchor=anchor,
        about=problem.title,
        verdict=verdict(rows, lines, baseline, color),
        sentences=[*sentences, lead] if lead else sentences,
        inside=", ".join(f"{n:,} {what}{'s' * (n > 1)}" for what, n in counts.items() if n),
        columns=_columns(baseline),
        lines=[_line(line, color) for line in lines],
        who=[found for line in lines if (found := _who(rows, line.contender))],
        notes=remarks,
        plots=plots,
        instances=objectives(rows, lines),
        figures=figures(rows, lines, lambda row: row.instance_hash),
        by_instance=by_instance,
        more_by_instance=left_out(len(by_instance), len(with_seeds(rows))),
        reasons=_reasons(rows),
        failed=failed,
        pictures=pictures,
        plans=plans,
        links=_links(anchor, pictures, plans, by_instance),
    )


def _links(
    anchor: str,
    pictures: Sequence[Picture],
    plans: Sequence[Mapping[str, Any]],
    by_instance: Sequence[Mapping[str, Any]],
) -> dict[str, list[tuple[str, str]]]:
    """Return where instances are on the page; they are known by their hashes, not by their names.

    Args:
        anchor: the section's.
        pictures: the family's own pictures.
        plans: the plans on the page.
        by_instance: the tables over seeds.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for label, shown in (("plan", plans), ("seeds", by_instance)):
        for at, one in enumerate(shown, start=1):
            found.setdefault(one["hash"], []).append((f"{anchor}-{label}-{at}", label))
    for at, picture in enumerate(pictures, start=1):
        for key in picture.instances:
            found.setdefault(key, []).append((f"{anchor}-picture-{at}", f"picture {at}"))
    return found


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
    """Return the table's row of a contender.

    A cell is a text, a second, smaller one and, where the first is not the number to sort by, that.
    """
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
            (seconds(line.wall_s), longest, line.wall_s),
            (seconds(line.cpu_s), f"setup {seconds(line.setup_s)}", line.cpu_s),
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
    rows: Sequence[Scored], lines: Sequence[Standing], color: Mapping[str, str], lead: str
) -> list[dict[str, str]]:
    """Return the plots; `alt` says what they show to readers who do not see them."""
    from .plots import anytime_plot, cost_plot

    budget_s = rows[0].budget_s
    ranked = [line for line in lines if line.role != "oracle"]
    costs = [
        f"{line.contender} {percent(line.gap_to_best)} in {seconds(line.wall_s)}" for line in ranked
    ]
    return [
        {
            "title": "Gap against inference time",
            "caption": "What a plan is worth and what it costs: mean gap to the best plan of each "
            "instance with its 95 % interval, against median wall seconds. The dashed line is the "
            "budget. A mark that would lie on another is moved sideways; a thin line leads to its "
            "seconds.",
            "alt": f"Gap to the best plan and seconds, best first: {'; '.join(costs)}.",
            "svg": cost_plot(rows, lines, color, budget_s),
        },
        {
            "title": "Anytime curves",
            "caption": "How far the plan in hand is from the best one known, had the contender "
            "been stopped at that second; the mean over instances. A curve starts at the first "
            "plan.",
            "alt": plain_sentence(lead) or "One contender holds the best plans at all times.",
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


def _how(run: Mapping[str, Any], rows: Sequence[Scored]) -> list[tuple[str, str]]:
    """Return how to reproduce the page, as (label, text) pairs."""
    made = run.get("conditions", {})
    versions = rows[0].versions
    timing = sorted({row.timing for row in rows})
    places = sorted(Counter((row.host, row.processor) for row in rows if row.host).items())
    threads = "one thread each (OMP, MKL, OpenBLAS, numba and torch set to 1)"
    facts = [
        ("Command", str(run.get("command", ""))),
        ("Budget", f"{_budgets(rows)} of wall time a plan; late above 5 % + 0.02 s more"),
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


def _budgets(rows: Sequence[Scored]) -> str:
    """Return the budget in words, by family if they differ."""
    found = {row.family: row.budget_s for row in rows}
    if len(set(found.values())) == 1:
        return f"{rows[0].budget_s:g} s"
    return ", ".join(f"{family} {budget_s:g} s" for family, budget_s in found.items())
