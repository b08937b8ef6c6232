"""Cells of a comparison, and the folder that keeps their rows, one JSON file per cell."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.documents import read_json
from ..core.errors import InstanceError, OutputError
from ..core.files import PARTIAL, unwritable, write_bytes
from ..core.folder_lock import sole_writer
from ..core.instance import Instance
from ..core.notes import note
from ..core.registry import contender_entry, load_problem
from ..core.results import Row
from .judge import world_seed

CELLS, INSTANCES, RUN, NONCE = "cells", "instances", "run.json", "nonce"
GO_ON = "go on with --resume; all rows so far are kept"


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance in a comparison.

    Attributes:
        family: name of its family.
        instance: the instance with its settings applied.
        settings: those settings, texts by name.
    """

    family: str
    instance: Any
    settings: Mapping[str, str]

    @property
    def instance_hash(self) -> str:
        """Content hash of the instance with its settings."""
        return str(self.instance.content_hash)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a comparison: a contender on an instance, with a seed.

    Attributes:
        entry: the instance.
        contender: name of the contender.
        seed: seed of the contender.
        world_seed: seed of the environment and of the validator.
    """

    entry: Entry
    contender: str
    seed: int
    world_seed: int

    @property
    def key(self) -> str:
        """File name of the cell's row, without suffix."""
        text = f"{self.entry.family}/{self.entry.instance_hash}/{self.contender}/{self.seed}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        readable = f"{self.entry.family}-{self.contender}-{self.entry.instance.name}-{self.seed}"
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', readable)[:80]}-{digest}"


class Folder:
    """The output folder of a comparison.

    Each row is one file, written atomically as soon as the run has ended, so that a comparison that
    is killed loses only the cell in progress. The instances are stored beside the rows, so that
    rows can be replayed.

    Between `seal` and `open_up` it holds nothing that contenders must not know, except the nonce,
    in a file that only its owner can read: rows are written without their world seeds, which follow
    from the nonce, and instances with hidden parts are not written yet.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other comparisons out of the folder during the block.

        Raises:
            OutputError: another process writes there, or the folder cannot be written.
        """
        with sole_writer(self.path, "another --out"):
            yield

    def prepare(self) -> None:
        """Create the folder, clear away what was left half written, and check that rows can be
        written.

        Raises:
            OutputError: they cannot.
        """
        try:
            (self.path / CELLS).mkdir(parents=True, exist_ok=True)
            (self.path / INSTANCES).mkdir(exist_ok=True)
            for kind in (CELLS, INSTANCES):
                for leftover in (self.path / kind).glob(f"*{PARTIAL}"):
                    leftover.unlink()
            probe = self.path / CELLS / f"probe{PARTIAL}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OutputError(
                f"{self.path}: {unwritable(error, elsewhere='another --out')}"
            ) from error

    def keep(self, cell: Cell, row: Row) -> None:
        """Write a row.

        Args:
            cell: the cell, which names the file.
            row: the cell's row.
        """
        path = self.path / CELLS / f"{cell.key}.json"
        facts = row.to_json()
        del facts["world_seed"]
        write_bytes(path, (json.dumps(facts) + "\n").encode(), GO_ON)

    def keep_instance(self, entry: Entry) -> None:
        """Write the instance with its settings, unless it has been written."""
        path = self._instance_file(entry.instance_hash)
        if not path.exists():
            entry.instance.save(path)

    def seal(self, nonce: str, entries: Iterable[Entry]) -> None:
        """Prepare the folder for contenders that may read it; see above.

        Args:
            nonce: the comparison's.
            entries: its instances; those of which contenders see everything are written.

        Raises:
            OutputError: a file cannot be written or removed.
        """
        path = self.path / NONCE
        try:
            if nonce:  # never without it: rows that are there need it
                write_bytes(path, nonce.encode(), GO_ON, mode=0o600)
            else:
                path.unlink(missing_ok=True)
            for entry in entries:
                problem, instance = load_problem(entry.family), entry.instance
                if problem.contender_view(instance) is instance:
                    self.keep_instance(entry)
                else:
                    self._instance_file(entry.instance_hash).unlink(missing_ok=True)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"{error.filename}: {unwritable(error, GO_ON, 'another --out')}"
            ) from error

    def open_up(self, entries: Iterable[Entry]) -> None:
        """Complete the folder after the last contender: all instances, and the nonce for everybody.

        Args:
            entries: the comparison's instances.

        Raises:
            OutputError: a file cannot be written.
        """
        for entry in entries:
            self.keep_instance(entry)
        path = self.path / NONCE
        if path.exists():
            path.chmod(0o644)

    def nonce(self) -> str:
        """Return the nonce that world seeds are made with; empty in folders without one.

        Raises:
            OutputError: its file cannot be read.
        """
        try:
            return (self.path / NONCE).read_text().strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"{self.path / NONCE}: cannot be read ({error})") from error

    def rows(self) -> dict[str, Row]:
        """Read all rows.

        Returns:
            Cell key -> row, in the order of the keys.

        Raises:
            OutputError: a row is damaged.
        """
        nonce = self.nonce()
        paths = sorted((self.path / CELLS).glob("*.json"))
        return {path.stem: _read(path, nonce) for path in paths}

    def drop_half_written(self) -> None:
        """Remove files of rows that break off, with a note, so that their cells are played again.

        Rows are written atomically; a disk or a copy of the folder can still cut them off.

        Raises:
            OutputError: one cannot be read or removed.
        """
        for path in sorted((self.path / CELLS).glob("*.json")):
            try:
                if not _is_whole(path.read_bytes()):
                    path.unlink()
                    note(f"{path}: a row that was cut off; its cell is played again")
            except OSError as error:
                raise OutputError(f"{path}: {unwritable(error, GO_ON)}") from error

    def instance(self, row: Row) -> Instance:
        """Load the instance that a row was played on.

        Raises:
            InstanceError: its file is missing or damaged.
        """
        path = self._instance_file(row.instance_hash)
        if not path.exists():
            raise InstanceError(
                f"{path}: no such file; if the comparison was killed, go on with `compare --resume`"
            )
        return load_problem(row.family).instance_type.load(path)

    def _instance_file(self, instance_hash: str) -> Path:
        return self.path / INSTANCES / f"{instance_hash}.npz"

    def write_run(self, facts: Mapping[str, Any]) -> None:
        """Write the facts on how the comparison was made."""
        write_bytes(self.path / RUN, (json.dumps(facts, indent=1) + "\n").encode(), GO_ON)

    def read_run(self) -> dict[str, Any]:
        """Read the facts on how the comparison was made; empty if they were never written."""
        try:
            facts = read_json(self.path / RUN)
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}


def _is_whole(data: bytes) -> bool:
    """Whether a row's file has not been cut off, whatever it says."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _read(path: Path, nonce: str) -> Row:
    try:
        facts = read_json(path)
        if isinstance(facts, dict) and "world_seed" not in facts:
            seed = world_seed(str(facts.get("instance_hash")), facts.get("seed", 0), nonce)
            facts["world_seed"] = seed
        return Row.from_json(facts, str(path))
    except (OSError, ValueError, TypeError) as error:
        problem = f"{path}: not a row of results ({error})"
    except OutputError as error:
        problem = str(error)
    raise OutputError(f"{problem}; delete this file, and `compare --resume` runs it again")


def check_resume(
    rows: Mapping[str, Row],
    entries: Iterable[Entry],
    budgets: Mapping[str, float],
    cores: int,
    resume: bool,
    path: Path,
) -> None:
    """Refuse to mix rows that do not belong together.

    Args:
        rows: rows in the folder, by cell key.
        entries: the instances to play.
        budgets: wall-clock seconds per plan, by family.
        cores: cores of each contender.
        resume: whether the user asked to continue the comparison in the folder.
        path: the folder, for error messages.

    Raises:
        OutputError: there are rows and `resume` is false, or a row was made with another
            environment version, on an instance that is not in this comparison, under another
            budget, or with other cores.
    """
    if not rows:
        return
    if not resume:
        raise OutputError(
            f"{path}: holds {len(rows)} rows of an earlier comparison; add --resume to go on with "
            "it, or choose another --out"
        )
    remedy = "rows that do not compare are not merged; choose another --out"
    wanted = {(entry.family, entry.instance_hash) for entry in entries}
    for row in rows.values():
        who = f"{path}: the row of {row.contender} on {row.instance}"
        if any(row.family == family for family, _ in wanted):
            now = load_problem(row.family).env_version
            if row.env_version != now:
                raise OutputError(
                    f"{who} was made with environment version {row.env_version}, this is "
                    f"{now}; {remedy}"
                )
        if (row.family, row.instance_hash) not in wanted:
            raise OutputError(
                f"{who} is of an instance, or of settings, that this comparison does not have "
                f"(hash {row.instance_hash}); {remedy}"
            )
        budget_s = budgets[row.family]
        if row.budget_s != budget_s:
            raise OutputError(
                f"{who} was made under a budget of {row.budget_s:g} s, this is {budget_s:g} s; "
                f"{remedy}"
            )
        if row.cores != cores:
            raise OutputError(
                f"{who} was made with --cores {row.cores}, this is --cores {cores}; {remedy}"
            )


def check_contenders(
    rows: Iterable[Row], contenders: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Refuse rows of policies and files that have changed since.

    Args:
        rows: the rows of a folder.
        contenders: family -> names of the contenders that are about to play.
        path: the folder, for error messages.

    Raises:
        OutputError: a contender of the same name has another policy or another file now.
    """
    for row in rows:
        if row.contender not in contenders.get(row.family, ()):
            continue
        now = contender_entry(row.family, row.contender)
        was = row.provenance.get("hash") or row.provenance.get("file_hash", "")
        if row.provenance and was != now.digest:
            raise OutputError(
                f"{path}: the row of {row.contender} on {row.instance} was made by "
                f"{_version(was)}, now {row.contender} is {_version(now.digest)} "
                f"({now.policy or now.place}); rows that do not compare are not merged; let what "
                "there is now play under another name, NAME=..., or choose another --out"
            )


def _version(digest: str) -> str:
    return f"version {digest}" if digest else "the registered contender"


def check_versions(rows: Iterable[Row], path: Path) -> None:
    """Refuse rows of several environment versions of one family.

    Args:
        rows: the rows of a folder.
        path: the folder, for error messages.

    Raises:
        OutputError: there are such rows.
    """
    seen: dict[str, str] = {}
    for row in rows:
        version = seen.setdefault(row.family, row.env_version)
        if version != row.env_version:
            raise OutputError(
                f"{path}: holds {row.family} rows of environment versions {version} and "
                f"{row.env_version}, which do not compare; run `compare` again into an empty folder"
            )
