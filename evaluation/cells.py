"""Cells of a comparison, and the folder that keeps their rows."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.documents import read_json
from ..core.errors import InstanceError, OutputError
from ..core.files import PARTIAL, read_bytes, unwritable, write_bytes
from ..core.folder_lock import sole_writer
from ..core.instance import Instance
from ..core.notes import note
from ..core.registry import contender_entry, load_problem
from ..core.results import Row
from .judge import world_seed
from .row_file import Stored, StoredActions, append, drop_torn, stored_rows

ROWS, INSTANCES, RUN, NONCE = "rows.jsonl", "instances", "run.json", "nonce"
CELLS = "cells"  # folder of earlier versions, with a file for each row
GO_ON = "go on with --resume; all rows so far are kept"
# Fields of rows that are equal in many of them.
SHARED = (
    "family", "instance", "instance_hash", "settings", "contender", "objective_name", "unit",
    "env_version", "timing", "versions", "provenance",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance in a comparison.

    Attributes:
        family: name of its family.
        instance: the instance with its settings applied.
        settings: those settings, texts by name.
        instance_hash: content hash of the instance with its settings.
    """

    family: str
    instance: Any
    settings: Mapping[str, str]
    instance_hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "instance_hash", str(self.instance.content_hash))


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
        """Name of the cell, which its row has, too; see `row_key`."""
        entry = self.entry
        return row_key(
            entry.family, entry.instance.name, entry.instance_hash, self.contender, self.seed
        )


def row_key(family: str, instance: str, instance_hash: str, contender: str, seed: int) -> str:
    """Return the name of a cell, unique in its comparison; rows are in the order of the names.

    Args:
        family: name of the family.
        instance: name of the instance.
        instance_hash: its content hash.
        contender: name of the contender.
        seed: seed of the contender.
    """
    text = f"{family}/{instance_hash}/{contender}/{seed}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{family}-{contender}-{instance}-{seed}")
    return f"{readable[:80]}-{digest}"


class Folder:
    """The output folder of a comparison.

    Each row is appended to one file as soon as the run has ended, so that a comparison that is
    killed loses only the cell in progress. The instances are stored beside the rows, so that rows
    can be replayed. Folders of earlier versions hold a file for each row; they are read, too, and
    a comparison that goes on there appends.

    Between `seal` and `open_up` it holds nothing that contenders must not know, except the nonce,
    in a file that only its owner can read: rows are written without their world seeds, which follow
    from the nonce, and instances with hidden parts are not written yet.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loaded: tuple[Path, Instance] | None = None

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
            (self.path / INSTANCES).mkdir(parents=True, exist_ok=True)
            for kind in (CELLS, INSTANCES):
                for leftover in (self.path / kind).glob(f"*{PARTIAL}"):
                    leftover.unlink()
            with (self.path / ROWS).open("ab"):
                pass
        except OSError as error:
            raise OutputError(
                f"{self.path}: {unwritable(error, elsewhere='another --out')}"
            ) from error
        self.drop_half_written()

    def keep(self, cell: Cell, row: Row) -> None:
        """Append a row, whole or not at all.

        Args:
            cell: the cell.
            row: the cell's row.

        Raises:
            OutputError: it cannot be written; the rows so far are kept.
        """
        facts = row.to_json()
        del facts["world_seed"]
        append(self.path / ROWS, facts, GO_ON)

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
        """Read all rows; their actions stay on the disk until they are asked for.

        A last row that was cut off, or is being written, is left out with a note.

        Returns:
            Cell key -> row, in the order of the keys; of two rows of a cell the later one.

        Raises:
            OutputError: a row is damaged.
        """
        nonce, shared = self.nonce(), _Shared()
        found = {one.path.stem: shared.row(one, nonce) for one in self._old_rows()}
        for one in self._appended():
            if one.text.endswith(b"\n") or one.is_whole:
                row = shared.row(one, nonce)
                of = row.family, row.instance, row.instance_hash, row.contender, row.seed
                found[row_key(*of)] = row
            else:
                note(
                    f"{one.place}: a row that was cut off is left out; `compare --resume` plays "
                    "its cell again"
                )
        return dict(sorted(found.items()))

    def _old_rows(self) -> Iterator[Stored]:
        """Yield the rows that are a file each."""
        for path in sorted((self.path / CELLS).glob("*.json")):
            try:
                yield Stored(path, 0, 0, read_bytes(path))
            except InstanceError as error:
                raise OutputError(f"{error}, or delete this file") from error

    def _appended(self) -> Iterator[Stored]:
        try:
            yield from stored_rows(self.path / ROWS)
        except InstanceError as error:
            raise OutputError(str(error)) from error

    def drop_half_written(self) -> None:
        """Remove rows that break off, with a note, so that their cells are played again.

        A process that is killed leaves at most the last one so; in folders of earlier versions, a
        disk or a copy of the folder can have cut off any file.

        Raises:
            OutputError: one cannot be read or removed.
        """
        told = "a row that was cut off; its cell is played again"
        if drop_torn(self.path / ROWS, GO_ON):
            note(f"{self.path / ROWS}: {told}")
        for path in sorted((self.path / CELLS).glob("*.json")):
            try:
                if not Stored(path, 0, 0, path.read_bytes()).is_whole:
                    path.unlink()
                    note(f"{path}: {told}")
            except OSError as error:
                raise OutputError(f"{path}: {unwritable(error, GO_ON)}") from error

    def instance(self, row: Row) -> Instance:
        """Load the instance that a row was played on, unless it is the one that was loaded last.

        Raises:
            InstanceError: its file is missing or damaged.
        """
        path = self._instance_file(row.instance_hash)
        if self._loaded is not None and self._loaded[0] == path:
            return self._loaded[1]
        if not path.exists():
            raise InstanceError(
                f"{path}: no such file; if the comparison was killed, go on with `compare --resume`"
            )
        self._loaded = path, load_problem(row.family).instance_type.load(path)
        return self._loaded[1]

    def instance_size(self, row: Row) -> int:
        """Return the size of the file of a row's instance, in bytes; 0 if it is missing."""
        try:
            return self._instance_file(row.instance_hash).stat().st_size
        except OSError:
            return 0

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


class _Shared:
    """Reads rows that share their equal parts in memory: texts, settings, versions, provenance."""

    def __init__(self) -> None:
        self._parts: dict[tuple[type, str], Any] = {}

    def row(self, stored: Stored, nonce: str) -> Row:
        """Return a row whose actions stay in the file.

        Args:
            stored: its text.
            nonce: the comparison's, for the world seed.

        Raises:
            OutputError: it is damaged; says how to have its cell played again.
        """
        try:
            facts = stored.parse()
            if isinstance(facts, dict) and "world_seed" not in facts:
                seed = world_seed(str(facts.get("instance_hash")), facts.get("seed", 0), nonce)
                facts["world_seed"] = seed
            row = Row.from_json(facts, stored.place)
        except (OSError, ValueError, TypeError) as error:
            problem = str(error)
            if not isinstance(error, OutputError):
                problem = f"{stored.place}: not a row of results ({error})"
            raise OutputError(f"{problem}; {_remedy(stored)}") from error
        parts = {name: self._part(getattr(row, name)) for name in SHARED}
        if row.actions:
            parts["actions"] = StoredActions(stored, len(row.actions))
        return replace(row, **parts)

    def _part(self, value: Any) -> Any:
        return self._parts.setdefault((type(value), str(value)), value)


def _remedy(stored: Stored) -> str:
    """Say how to be rid of a damaged row, and of no other."""
    if stored.number:
        command = f"sed -i {stored.number}d {shlex.quote(str(stored.path))}"
        return f"delete this line ({command}), and `compare --resume` runs its cell again"
    return "delete this file, and `compare --resume` runs it again"


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
    versions = {family: load_problem(family).env_version for family, _ in wanted}
    for row in rows.values():
        who = f"{path}: the row of {row.contender} on {row.instance}"
        now = versions.get(row.family, row.env_version)
        if row.env_version != now:
            raise OutputError(
                f"{who} was made with environment version {row.env_version}, this is {now}; "
                f"{remedy}"
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
