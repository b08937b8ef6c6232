"""Cells of a comparison, their rows, and the folder they are kept in, one JSON file a cell."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import OutputError
from ..core.files import write_bytes
from ..core.instance import Instance
from ..core.registry import load_problem

Row = dict[str, Any]

CELLS, INSTANCES, RUN = "cells", "instances", "run.json"
FAILED = ("infeasible", "disagreement", "late", "crashed", "hung")


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance in a comparison: its family, the instance as played, and the settings it was
    given.
    """

    family: str
    instance: Any
    settings: Mapping[str, str]

    @property
    def instance_hash(self) -> str:
        """Hash of the instance as played, settings included."""
        return str(self.instance.content_hash)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: an instance, a contender, a seed."""

    entry: Entry
    contender: str
    seed: int

    @property
    def key(self) -> str:
        """File name of the cell's row, without suffix."""
        text = f"{self.entry.family}/{self.entry.instance_hash}/{self.contender}/{self.seed}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        readable = f"{self.entry.family}-{self.contender}-{self.entry.instance.name}-{self.seed}"
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', readable)[:80]}-{digest}"


class Folder:
    """The output folder of a comparison.

    Rows are written one file each, whole or not at all, as soon as they are known; so a run that is
    killed loses the cell in progress and no other. The instances as played lie beside them, so that
    rows replay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Makes the folder and proves that it can be written to.

        Raises:
            OutputError: it cannot.
        """
        try:
            (self.path / CELLS).mkdir(parents=True, exist_ok=True)
            (self.path / INSTANCES).mkdir(exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OutputError(
                f"{self.path}: results cannot be written there ({error.strerror}); choose another "
                "--out"
            ) from error

    def keep(self, cell: Cell, row: Row) -> None:
        """Writes a cell's row."""
        path = self.path / CELLS / f"{cell.key}.json"
        write_bytes(path, (json.dumps(plain(row)) + "\n").encode())

    def keep_instance(self, entry: Entry) -> None:
        """Writes the instance as played, once."""
        path = self.path / INSTANCES / f"{entry.instance_hash}.npz"
        if not path.exists():
            entry.instance.save(path)

    def rows(self) -> dict[str, Row]:
        """The rows by cell key, in the order of the keys.

        Raises:
            OutputError: a row is damaged.
        """
        rows = {}
        for path in sorted((self.path / CELLS).glob("*.json")):
            try:
                row = json.loads(path.read_text())
                assert isinstance(row, dict) and "contender" in row
            except (OSError, ValueError, AssertionError) as error:
                raise OutputError(
                    f"{path}: not a row of results; delete this file, and `compare --resume` runs "
                    "it again"
                ) from error
            rows[path.stem] = from_plain(row)
        return rows

    def instance(self, row: Row) -> Instance:
        """The instance a row was played on.

        Raises:
            InstanceError: its file is gone or damaged.
        """
        problem = load_problem(row["family"])
        path = self.path / INSTANCES / f"{row['instance_hash']}.npz"
        return problem.instance_type.load(path)

    def write_run(self, facts: Mapping[str, Any]) -> None:
        """Writes how the run was made."""
        write_bytes(self.path / RUN, (json.dumps(facts, indent=1) + "\n").encode())

    def read_run(self) -> dict[str, Any]:
        """How the run was made; empty if that was never written."""
        try:
            facts = json.loads((self.path / RUN).read_text())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}


def check_resume(
    rows: Mapping[str, Row],
    entries: Iterable[Entry],
    budgets: Mapping[str, float],
    resume: bool,
    path: Path,
) -> None:
    """Refuses to mix rows that do not belong together.

    Raises:
        OutputError: there are rows and `resume` is not asked for, or a row was made with another
            environment version, on an instance that is not in this comparison, or under another
            budget.
    """
    if not rows:
        return
    if not resume:
        raise OutputError(
            f"{path}: holds {len(rows)} rows of an earlier comparison; add --resume to go on with "
            "it, or choose "
            "another --out"
        )
    remedy = "rows that do not compare are not merged; choose another --out"
    wanted = {(entry.family, entry.instance_hash) for entry in entries}
    for row in rows.values():
        who = f"{path}: the row of {row['contender']} on {row['instance']}"
        if any(row["family"] == family for family, _ in wanted):
            now = load_problem(row["family"]).env_version
            if row["env_version"] != now:
                raise OutputError(
                    f"{who} was made with environment version {row['env_version']}, this is "
                    f"{now}; {remedy}"
                )
        if (row["family"], row["instance_hash"]) not in wanted:
            raise OutputError(
                f"{who} is of an instance, or of settings, that this comparison does not have "
                f"(hash {row['instance_hash']}); {remedy}"
            )
        budget_s = budgets[row["family"]]
        if row["budget_s"] != budget_s:
            raise OutputError(
                f"{who} was made under a budget of {row['budget_s']:g} s, this is {budget_s:g} s; "
                f"{remedy}"
            )


def check_versions(rows: Iterable[Row], path: Path) -> None:
    """Refuses a folder whose rows come from several environment versions of one family.

    Raises:
        OutputError: they do.
    """
    seen: dict[str, str] = {}
    for row in rows:
        version = seen.setdefault(row["family"], row["env_version"])
        if version != row["env_version"]:
            raise OutputError(
                f"{path}: holds {row['family']} rows of environment versions {version} and "
                f"{row['env_version']}, "
                "which do not compare; run `compare` again into an empty folder"
            )


def plain(value: Any) -> Any:
    """The value as JSON takes it; NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def from_plain(row: Row) -> Row:
    """A row as read from JSON, with null objectives NaN again."""
    for name in ("objective", "scored_objective", "doing_nothing"):
        if row.get(name) is None:
            row[name] = math.nan
    return row


def failure_reason(row: Row) -> str:
    """Why a row ranks as doing nothing, in a few words; empty where it does not."""
    if row["status"] not in FAILED:
        return ""
    if row["status"] == "late":
        return f"took {row['wall_s']:.2f} s of {row['budget_s']:g} s"
    return str(row["error"] or "; ".join(row["violations"][:1]) or row["status"])
