"""The file of a comparison's rows: one JSON object a line, appended whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.documents import parse_json
from ..core.errors import OutputError
from ..core.files import MEGABYTE, opened, size_limit, unwritable


@dataclass(frozen=True, slots=True)
class Stored:
    """A row's text and where it stands.

    Attributes:
        path: the file.
        number: number of the line, from 1; 0 if the file holds nothing else.
        start: first byte of the text in the file.
        text: the text; without the line's end if it is the last line and was cut off.
    """

    path: Path
    number: int
    start: int
    text: bytes

    @property
    def place(self) -> str:
        """The file and the line, for messages."""
        return f"{self.path}, line {self.number}" if self.number else str(self.path)

    @property
    def is_whole(self) -> bool:
        """Whether the text has not been cut off, whatever it says."""
        try:
            json.loads(self.text)
        except (ValueError, RecursionError):
            return False
        return True

    def parse(self) -> Any:
        """Return the JSON value.

        Raises:
            InstanceError: see `parse_json`.
            UnicodeDecodeError: it is no text.
        """
        return parse_json(self.place, self.text.decode(), finite=False)


class StoredActions(Sequence[Any]):
    """A row's actions, which stay in its file until they are asked for.

    They compare and iterate as the list of them does, and are read anew each time, so that the
    plans of thousands of rows are never in memory at once; only an index keeps them.

    Args:
        row: the row's text.
        count: number of the actions.
    """

    __slots__ = ("_count", "_kept", "_path", "_size", "_start")

    def __init__(self, row: Stored, count: int) -> None:
        self._path, self._start, self._size = row.path, row.start, len(row.text)
        self._count = count
        self._kept: list[Any] | None = None

    def load(self) -> list[Any]:
        """Read the actions.

        Raises:
            OutputError: the file has been changed or removed since the row was read.
        """
        try:
            with opened(self._path) as file:
                file.seek(self._start)
                actions = json.loads(file.read(self._size))["actions"]
        except (OSError, ValueError, KeyError, TypeError):
            actions = None
        if not isinstance(actions, list) or len(actions) != self._count:
            raise OutputError(
                f"{self._path}: was changed or removed after its rows had been read; put it back, "
                "and read them again"
            )
        return actions

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return iter(self.load())

    def __getitem__(self, at: Any) -> Any:
        if self._kept is None:
            self._kept = self.load()
        return self._kept[at]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.load(), dtype=dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | StoredActions):
            return NotImplemented
        return len(self) == len(other) and self.load() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.load())


def append(path: Path, facts: Mapping[str, Any], afterwards: str) -> None:
    """Append a row, through to the disk.

    A process that is killed meanwhile leaves a last line without its end, or the whole row.

    Args:
        path: the file, which is made if it is missing; its last line must be whole.
        facts: the row.
        afterwards: what to do once a full disk has room again.

    Raises:
        OutputError: the row cannot be written; the file is as before.
    """
    rest = memoryview((json.dumps(facts) + "\n").encode())
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            before = os.fstat(file).st_size
            try:
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except BaseException as error:  # Ctrl-C, too, must not leave half a row
                if rest or isinstance(error, OSError):
                    os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise OutputError(f"{path}: {unwritable(error, afterwards)}") from error


def stored_rows(path: Path) -> Iterator[Stored]:
    """Yield the rows of a file, none if there is no file; blank lines are left out.

    Args:
        path: the file.

    Raises:
        InstanceError: the file cannot be read.
        OutputError: a row is larger than the limit on users' files.
    """
    if not path.exists():
        return
    start, limit = 0, size_limit()
    with opened(path) as file:
        number = 0
        while text := file.readline(limit + 1):
            number += 1
            if len(text) > limit:
                raise OutputError(
                    f"{path}, line {number}: a row of more than {limit / MEGABYTE:g} MB; set "
                    "SYSOPT_MAX_FILE_MB to read it"
                )
            if text.strip():
                yield Stored(path, number, start, text)
            start += len(text)


def drop_torn(path: Path, afterwards: str) -> bool:
    """Remove a last row that was cut off, and complete one of which only the line's end is missing.

    Args:
        path: the file; it may be missing.
        afterwards: what to do once a full disk has room again.

    Returns:
        Whether a row was removed.

    Raises:
        OutputError: the file cannot be read or written.
    """
    try:
        last = _tail(path)
        if last is None:
            return False
        with path.open("r+b") as file:
            if last.is_whole:
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            else:
                file.truncate(last.start)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path}: {unwritable(error, afterwards)}") from error
    return not last.is_whole


def _tail(path: Path) -> Stored | None:
    """Return what stands behind the last line's end; None if nothing does."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        size = start = file.seek(0, os.SEEK_END)
        text = b""
        while start > 0 and b"\n" not in text:
            start = max(0, start - MEGABYTE)
            file.seek(start)
            text = file.read(size - start)
        text = text[text.rfind(b"\n") + 1 :]
    return Stored(path, 0, size - len(text), text) if text else None
