"""Put folders of rows side by side in one report, after judging every row again.

A folder that `compare` wrote is an entry of a leaderboard: its rows with their provenance, the
instances they were played on, and how they were made. What of a row can be computed again is
computed again; a row that states anything else is refused by name. See docs/trust.md.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.contracts import World
from ..core.errors import InstanceError, OutputError
from ..core.registry import load_problem
from ..core.results import Row
from .cells import ROWS, Entry, Folder, check_versions
from .judge import TOLERANCE, is_late, null_objective
from .replay import replay_all
from .report import check_installed, write_report
from .row_file import append
from .table import Scored

MERGED = "merged_from"  # of run.json: what a merged folder was made of
MOST_TOLD = 8  # rows or instances named in an error


def merge(paths: Sequence[Path], out: Path) -> list[Scored]:
    """Judge all rows of several comparisons again, and write one report of them.

    Contenders of one name in several folders have the folder's name behind theirs.

    Args:
        paths: folders that `compare` wrote, at least two.
        out: folder for the merged rows and the report; a new one, or that of an earlier merge.

    Returns:
        The rows with their gaps, in the order of the report.

    Raises:
        OutputError: a folder holds no rows; a row states what its plan does not give; or rows do
            not compare: of other instances, settings, budgets, cores, worlds or versions.
        InstanceError: an instance's file is missing or damaged.
    """
    check_installed()
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise OutputError("--merge: give at least two folders, each once")
    folders = {label: Folder(path) for label, path in zip(_labels(paths), paths, strict=True)}
    rows = {label: _proven(folder) for label, folder in folders.items()}
    check_comparable(rows)
    merged = told_apart(rows)
    target = Folder(out)
    with target.held():
        if target.rows() and MERGED not in target.read_run():
            raise OutputError(f"{out}: holds rows of a comparison; choose another folder")
        target.prepare()
        (out / ROWS).write_text("")
        for label, found in merged.items():
            for row in found:
                instance = folders[label].instance(row)
                target.keep_instance(Entry(row.family, instance, row.settings))
                append(out / ROWS, row.to_json(), "run the command again")
        target.write_run(_run_facts(folders, merged, out))
        return write_report(target)


def check_comparable(rows: Mapping[str, Sequence[Row]]) -> None:
    """Refuse rows that do not compare, with what differs and where.

    Args:
        rows: label of each folder -> its rows.

    Raises:
        OutputError: two folders have rows of one family on other instances, under another budget or
            other cores, or in other worlds.
    """
    labels = list(rows)
    check_versions([row for found in rows.values() for row in found], Path(" and ".join(labels)))
    for family in dict.fromkeys(row.family for found in rows.values() for row in found):
        having = {
            label: own
            for label, found in rows.items()
            if (own := [row for row in found if row.family == family])
        }
        first, *others = having
        for label in others:
            _check_pair(family, (first, having[first]), (label, having[label]))


def told_apart(rows: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return the rows with names that are those of one folder's contenders alone.

    Args:
        rows: label of each folder -> its rows.
    """
    having: dict[tuple[str, str], set[str]] = {}
    for label, found in rows.items():
        for row in found:
            having.setdefault((row.family, row.contender), set()).add(label)
    return {
        label: [
            replace(row, contender=f"{row.contender} ({label})")
            if len(having[row.family, row.contender]) > 1
            else row
            for row in found
        ]
        for label, found in rows.items()
    }


def _proven(folder: Folder) -> list[Row]:
    """Return the rows of a folder, all of which state what can be computed from their plans.

    Raises:
        OutputError: a row does not, or there is none.
    """
    # Instance by instance, so that each is loaded once.
    found = sorted(replay_all(folder), key=lambda one: one.row.instance_hash)
    wrong = [
        f"the row of {one.row.contender} on {one.row.instance}, seed {one.row.seed}: {why}"
        for one in found
        if (why := one.why or _misstated(one.row, folder))
    ]
    if wrong:
        more = f"\nand {len(wrong) - MOST_TOLD} more" if len(wrong) > MOST_TOLD else ""
        lines = "\n".join(wrong[:MOST_TOLD])
        raise OutputError(
            f"{folder.path}: refused, for {len(wrong)} of {len(found)} rows do not state what "
            f"their plans give\n{lines}{more}"
        )
    return [one.row for one in found]


def _misstated(row: Row, folder: Folder) -> str:
    """Return what a row states otherwise than it follows from its plan, instance and seconds."""
    problem, instance = load_problem(row.family), folder.instance(row)
    if instance.content_hash != row.instance_hash:
        raise InstanceError(
            f"{folder.path}: the instance {row.instance} is not the one of its hash "
            f"{row.instance_hash}; its file was changed"
        )
    objective = problem.objective(instance)
    null = null_objective(problem, instance, World(row.world_seed, row.budget_s))
    in_time = row.wall_s is not None and not is_late(row.wall_s, row.budget_s) and not row.late
    counts = row.feasible and in_time
    expected: dict[str, Any] = {
        "instance": instance.name,
        "objective_name": objective.name,
        "direction": objective.direction,
        "unit": objective.unit,
        "is_live": problem.is_live(instance),
        "is_random": problem.is_random(instance),
        "null_objective": null,
        "scored_objective": row.objective if counts else null,
        "failed": not counts,
    }
    if known := problem.best_known(instance):
        expected["best_known"] = known[0]
    for name, value in expected.items():
        stated = getattr(row, name)
        if not _same(stated, value):
            return f"states {name} {stated!r}, and it is {value!r}"
    return ""


def _same(stated: Any, value: Any) -> bool:
    if isinstance(value, float) and isinstance(stated, float):
        both = math.isnan(value) and math.isnan(stated)
        return both or abs(stated - value) <= TOLERANCE
    return bool(stated == value)


def _check_pair(
    family: str, first: tuple[str, Sequence[Row]], other: tuple[str, Sequence[Row]]
) -> None:
    """Refuse rows of a family from two folders that do not compare."""
    (here, ours), (there, theirs) = first, other
    for name, unit in (("budget_s", " s a plan"), ("cores", " core(s)")):
        mine, others = ({getattr(row, name) for row in found} for found in (ours, theirs))
        if mine != others:
            raise OutputError(
                f"{family}: {here} was played with {_listed(mine)}{unit}, {there} with "
                f"{_listed(others)}{unit}; rows of other budgets do not compare, so play one of "
                "them again"
            )
    names = {row.instance_hash: _instance(row) for row in (*ours, *theirs)}
    mine, others = ({row.instance_hash for row in found} for found in (ours, theirs))
    for label, only in ((here, mine - others), (there, others - mine)):
        if only:
            told = ", ".join(sorted(names[key] for key in only)[:MOST_TOLD])
            raise OutputError(
                f"{family}: only {label} has rows on {len(only)} of the instances (by the hash of "
                f"all they hold): {told}; rows compare where both played the same instances with "
                "the same settings"
            )
    worlds = {
        (row.instance_hash, row.seed): row.world_seed
        for row in ours
        if row.is_random or row.is_live
    }
    for row in theirs:
        if worlds.get((row.instance_hash, row.seed), row.world_seed) != row.world_seed:
            raise OutputError(
                f"{family}: {here} and {there} met other worlds on {row.instance}; play one of "
                f"them again with the --nonce of the other, which is in its report's command"
            )


def _instance(row: Row) -> str:
    settings = " ".join(f"{name}={value}" for name, value in row.settings.items())
    return f"{row.instance} {row.instance_hash}" + (f" ({settings})" if settings else "")


def _listed(values: set[Any]) -> str:
    return " and ".join(f"{value:g}" for value in sorted(values))


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each folder: its own, or as it was given where two have the same."""
    names = [path.resolve().name for path in paths]
    return [
        name if names.count(name) == 1 else str(path)
        for name, path in zip(names, paths, strict=True)
    ]


def _run_facts(
    folders: Mapping[str, Folder], merged: Mapping[str, Sequence[Row]], out: Path
) -> dict[str, Any]:
    """Return the facts on how a merged folder was made; the first folder's baselines hold."""
    runs = {label: folder.read_run() for label, folder in folders.items()}
    baselines: dict[str, str] = {}
    for label, run in runs.items():
        for family, name in run.get("baseline", {}).items():
            for row in merged[label]:
                if row.family == family and row.contender in (name, f"{name} ({label})"):
                    baselines.setdefault(family, row.contender)
    words = ["sysopt-gym", "report", str(out), "--merge", *(str(f.path) for f in folders.values())]
    return {
        "command": shlex.join(words),
        "baseline": baselines,
        "conditions": {},
        MERGED: runs,
    }
