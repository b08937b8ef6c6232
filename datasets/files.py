"""Read users' files (text, gzip, zip, CSV), bounded in size; errors name file, row and column."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from ..core.errors import InstanceError
from ..core.files import MEGABYTE, read_bytes

GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
MOST_UNPACKED = 512 * MEGABYTE
NO_SETTINGS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class UserFile:
    """A user's file, read whole.

    Attributes:
        path: where it is; error messages begin with it.
        data: its content; of a gzip file, unpacked.
    """

    path: Path
    data: bytes

    @property
    def stem(self) -> str:
        """The file's name up to its first dot."""
        return self.path.name.split(".")[0]

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip: a saved instance, a set of them, or another archive."""
        return self.data.startswith(ZIP_MAGIC)

    def members(self) -> list[str]:
        """Return the names of a zip's members.

        Raises:
            InstanceError: the zip is damaged.
        """
        with self._archive() as archive:
            return archive.namelist()

    def member(self, name: str) -> UserFile:
        """Unpack a member of a zip.

        Args:
            name: name of the member.

        Raises:
            InstanceError: the zip is damaged, or the member is larger than MOST_UNPACKED.
        """
        with self._archive() as archive, archive.open(name) as stream:
            return UserFile(self.path, _bounded(self.path, stream.read(MOST_UNPACKED + 1)))

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                yield archive
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InstanceError(f"{self.path}: damaged ({error}); copy it again") from error

    def text(self, expected: str = "a text file", encoding: str = "utf-8-sig") -> str:
        """Decode the content.

        Args:
            expected: the formats that can be read, for the error message.
            encoding: encoding of the text; the default drops a byte order mark.

        Raises:
            InstanceError: the content is not text in this encoding.
        """
        try:
            return self.data.decode(encoding)
        except UnicodeDecodeError as error:
            raise InstanceError(
                f"{self.path}: neither text nor a known binary format (byte {error.start} is not "
                f"UTF-8 text); give {expected}"
            ) from error


def read_file(path: Path, advice: str = "") -> UserFile:
    """Read a user's whole file, and unpack it if it is a gzip.

    Args:
        path: the file.
        advice: what to do about a file that is too large, for the error message.

    Raises:
        InstanceError: the file is missing, unreadable, too large, or a damaged gzip.
    """
    data = read_bytes(path, advice)
    if data.startswith(GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as archive:
                data = _bounded(path, archive.read(MOST_UNPACKED + 1))
        except (OSError, EOFError, zlib.error) as error:
            raise InstanceError(f"{path}: damaged gzip file ({error}); copy it again") from error
    return UserFile(path, data)


def _bounded(path: Path, content: bytes) -> bytes:
    if len(content) > MOST_UNPACKED:
        raise InstanceError(
            f"{path}: holds more than {MOST_UNPACKED // MEGABYTE} MB; unpack it and give a part"
        )
    return content


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Prefix InstanceErrors raised in the block with a file's name, unless they begin with it.

    Args:
        place: the file's name.
    """
    try:
        yield
    except InstanceError as error:
        if str(error).startswith(place):
            raise
        raise InstanceError(f"{place}: {error}") from error


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a CSV file.

    Attributes:
        place: the file, for error messages.
        columns: the names in the header; see `column_names`.
        rows: line number and stripped cells of each row that is not empty.
    """

    place: str
    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]

    def refuse(self, row: int, column: str | int, why: str) -> NoReturn:
        """Raise InstanceError naming file, row and column.

        Args:
            row: index into `rows`; the message gives its line number.
            column: name or index of the column.
            why: what is wrong, and what to do about it.
        """
        name = self.columns[column] if isinstance(column, int) else column
        raise InstanceError(f"{self.place}: row {self.rows[row][0]}, column {name!r}: {why}")

    def texts(self, column: str | int) -> list[str]:
        """Return the cells of a column as text.

        Args:
            column: name or index of the column.
        """
        at = column if isinstance(column, int) else self.columns.index(column)
        return [cells[at] for _, cells in self.rows]

    def names(self, column: str | int) -> list[str]:
        """Return the cells of a column, none of which may be empty.

        Args:
            column: name or index of the column.

        Raises:
            InstanceError: a cell is empty.
        """
        cells = self.texts(column)
        if "" in cells:
            self.refuse(cells.index(""), column, "is empty; give a name, or drop the row")
        return cells

    def unique(self, column: str | int) -> list[str]:
        """Return the cells of a column, all of which must differ and none may be empty.

        Args:
            column: name or index of the column.

        Raises:
            InstanceError: a cell is empty, or two are equal.
        """
        cells = self.names(column)
        first: dict[str, int] = {}
        for row, cell in enumerate(cells):
            if first.setdefault(cell, row) != row:
                line = self.rows[first[cell]][0]
                self.refuse(row, column, f"{cell!r} is in row {line} too; ids must be unique")
        return cells

    def reals(
        self, column: str | int, low: float, high: float, empty: float | None = None
    ) -> np.ndarray:
        """Parse a column of finite numbers, float64 [rows].

        Args:
            column: name or index of the column.
            low: least allowed number.
            high: largest allowed number.
            empty: value of an empty cell; None to refuse empty cells.

        Raises:
            InstanceError: a cell is not such a number.
        """
        values = np.empty(len(self.rows))
        for row, cell in enumerate(self.texts(column)):
            if cell == "" and empty is not None:
                values[row] = empty
                continue
            try:
                value = float(cell)
            except ValueError:
                self.refuse(row, column, f"is {cell!r}, expected a number")
            if not math.isfinite(value):
                self.refuse(row, column, f"is {cell}, expected a finite number")
            if not low <= value <= high:
                self.refuse(row, column, f"is {cell}, outside {low:g}..{high:g}; correct it")
            values[row] = value
        return values

    def wholes(self, column: str | int, low: int, high: int) -> np.ndarray:
        """Parse a column of integers, int64 [rows].

        Args:
            column: name or index of the column.
            low: least allowed number.
            high: largest allowed number.

        Raises:
            InstanceError: a cell is not such a number.
        """
        cells, values = self.texts(column), self.reals(column, low, high)
        broken = np.flatnonzero(values != np.floor(values))
        if broken.size:
            row = int(broken[0])
            self.refuse(row, column, f"is {values[row]:g}, expected a whole number")
        exact = [int(cell) if cell.isdecimal() else int(float(cell)) for cell in cells]
        return np.array(exact, np.int64)


def column_names(cells: Iterable[str]) -> tuple[str, ...]:
    """Normalize a CSV header: names in lower case, without units in brackets.

    "Memory(GB)" becomes "memory"; units are kept if two columns would otherwise have one name.

    Args:
        cells: the header's cells.
    """
    names = [cell.strip().lower() for cell in cells]
    bare = [name.partition("(")[0].strip() for name in names]
    return tuple(bare if len(set(bare)) == len(bare) else names)


def header_of(line: str) -> tuple[str, ...]:
    """Return the column names in the first line of a CSV file.

    Args:
        line: the first line.
    """
    return column_names(next(csv.reader([line], delimiter=_delimiter(line)), []))


def _delimiter(line: str) -> str:
    return "\t" if "\t" in line else ","


def read_table(place: str, text: str, needed: Iterable[str], ragged: bool = False) -> Table:
    """Parse CSV text with a header, separated by commas or, if the header has any, by tabs.

    Args:
        place: the file, for error messages.
        text: the file's content.
        needed: columns that must be present.
        ragged: whether rows may have more or fewer cells than the header, provided that they have
            the needed ones.

    Raises:
        InstanceError: needed columns are missing (all are named), there are no rows, or a row has
            another number of cells.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(text.partition("\n")[0])
    )
    try:
        columns = column_names(next(reader, []))
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InstanceError(f"{place}: row {reader.line_num}: not CSV ({error})") from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InstanceError(
            f"{place}: row 1: {listed('column', missing)} {'is' if len(missing) == 1 else 'are'} "
            f"missing; the first line must name the columns, it has {','.join(columns)[:80]!r}"
        )
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise InstanceError(f"{place}: has a header but no rows")
    reach = 1 + max((columns.index(name) for name in needed), default=-1)
    for line, cells in rows:
        if len(cells) < reach if ragged else len(cells) != len(columns):
            raise InstanceError(
                f"{place}: row {line}: has {len(cells)} columns, the header has {len(columns)}; "
                "the file may be cut off here, copy it again"
            )
    return Table(place, columns, rows)


def listed(what: str, names: Iterable[str]) -> str:
    """Join names for an error message, such as "the fields 'x', 'y'".

    Args:
        what: what the names stand for, in the singular ("field").
        names: the names.
    """
    quoted = [repr(name) for name in names]
    return f"the {what}{'s' if len(quoted) > 1 else ''} {', '.join(quoted)}"
