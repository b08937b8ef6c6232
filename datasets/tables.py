"""Read tables of text (CSV in any dialect) by column; errors name file, row and column."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NoReturn

import numpy as np

from ..core.errors import InstanceError
from .files import listed
from .numerals import (
    WORDS,
    has_decimal_comma,
    has_decimal_point,
    is_missing,
    number,
    plain_numbers,
)

SEPARATORS = "\t;,| "  # of equal ones, the first is meant
DIGITS = 20  # an int64 has fewer
LONGEST_LINE = 2**23  # characters; its cells are parsed before their number is known
MOST_CELLS = 20_000_000
SNIFFED = 50  # lines that tell the separator
_TOLD_SEPARATOR = re.compile(r"""["']?sep=(\\t|.)["']?""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a CSV file.

    Attributes:
        place: the file, for error messages.
        columns: the names in the header; see `column_names`.
        rows: line number and stripped cells of each row that is not empty.
        separator: what separates the cells.
        units: what stands in brackets behind each name, in lower case; empty for nothing. None at
            all if no name has brackets.
    """

    place: str
    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    separator: str = ","
    units: tuple[str, ...] = ()

    def unit(self, column: int) -> str:
        """Return the unit in brackets behind a column's name, in lower case; empty for none.

        Args:
            column: index of the column.
        """
        return self.units[column] if self.units else ""

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

    def numerals(self, column: str | int) -> Sequence[str]:
        """Return the cells of a column with numbers written plainly; see `plain_numbers`.

        Args:
            column: name or index of the column.

        Raises:
            InstanceError: decimal points and commas are mixed, or cannot be told.
        """
        return plain_numbers(
            self.texts(column),
            self.separator,
            lambda row, why: self.refuse(row, column, why),
            lambda: (self._any(has_decimal_comma), self._any(has_decimal_point)),
        )

    def _any(self, test: Callable[[str], bool]) -> bool:
        return any(test(cell) for _, cells in self.rows for cell in cells)

    def present(self, column: str | int) -> np.ndarray:
        """Tell which cells of a column hold something, and not NA or the like; bool [rows].

        In a column of texts, "none" is one of them.

        Args:
            column: name or index of the column.
        """
        cells = self.texts(column)
        numeric = any(number(cell.replace(",", "")) is not None for cell in cells)
        words: frozenset[str] = frozenset() if numeric else WORDS
        return np.array([not is_missing(cell) or cell.lower() in words for cell in cells], np.bool_)

    def only(self, kept: np.ndarray) -> Table:
        """Return the table with some of its rows.

        Args:
            kept: bool [rows].
        """
        rows = [row for row, keep in zip(self.rows, kept, strict=True) if keep]
        return dataclasses.replace(self, rows=rows)

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
        for row, cell in enumerate(self.numerals(column)):
            if cell == "" and empty is not None:
                values[row] = empty
                continue
            value = number(cell)
            if value is None:
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
        cells, values = self.numerals(column), self.reals(column, low, high)
        broken = np.flatnonzero(values != np.floor(values))
        if broken.size:
            row = int(broken[0])
            self.refuse(row, column, f"is {values[row]:g}, expected a whole number")
        exact = [
            int(cell) if len(cell) < DIGITS and cell.isascii() and cell.isdecimal()
            else int(float(cell))
            for cell in cells
        ]  # fmt: skip
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
    """Return the column names in the first line of a CSV file; none if it is no CSV.

    Args:
        line: the first line.
    """
    try:
        return column_names(next(_cells([line], _separator([line])), []))
    except csv.Error:
        return ()


def _cells(lines: Iterable[str], separator: str) -> Any:
    """Return the reader of `csv`; of cells separated by spaces, several count as one."""
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator == " ")


def _separator(lines: Sequence[str]) -> str:
    """Return what separates the cells: what divides most of the lines into as many as the first.

    Args:
        lines: some lines, the header first.
    """
    best, choice = (0.0, 1), ","
    for separator in SEPARATORS:
        try:
            widths = [len(cells) for cells in _cells(lines, separator)]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        fitting = sum(width == widths[0] for width in widths) / len(widths)
        if separator != " ":
            best, choice = max((best, choice), ((fitting, widths[0]), separator), key=itemgetter(0))
        elif best == (0.0, 1) and set(widths[1:]) in ({widths[0]}, {widths[0] + 1}):
            choice = separator  # R leaves out the header of its row names
    return choice


def _start(lines: list[str]) -> int:
    """Return the index of the header: below empty lines and comments (#).

    A last comment that divides into as many cells as the line below it is the header itself, and is
    freed of its mark, in place.
    """
    start = next((at for at, line in enumerate(lines) if line.strip()), 0)
    below = next(
        (at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), start
    )
    last = next((at for at in reversed(range(start, below)) if lines[at].strip()), below)
    if last < below:
        pair = [lines[last].lstrip("# "), lines[below]]
        separator = _separator(pair)
        widths = [len(cells) for cells in _cells(pair, separator)]
        if separator != " " and 1 < widths[0] == widths[-1]:
            lines[last] = pair[0]
            return last
    return below


def read_table(place: str, text: str, needed: Iterable[str], ragged: bool = False) -> Table:
    """Parse a table with a header: CSV, or separated by tabs, semicolons, bars or spaces.

    Args:
        place: the file, for error messages.
        text: the file's content.
        needed: columns that must be present.
        ragged: whether rows may have more or fewer cells than the header, provided that they have
            the needed ones.

    Raises:
        InstanceError: needed columns are missing (all are named) or twice there, there are no rows,
            a row has another number of cells, or the table is too large.
    """
    lines = io.StringIO(text, newline=None).readlines()
    if max(map(len, lines), default=0) > LONGEST_LINE:
        raise InstanceError(
            f"{place}: has a line of more than {LONGEST_LINE} characters; give a part of it"
        )
    skipped = _start(lines)
    told = _TOLD_SEPARATOR.fullmatch(lines[skipped].rstrip("\n")) if lines else None
    skipped += told is not None  # Excel's own first line
    body = lines[skipped:]
    separator = told[1] if told else _separator([line for line in body[:SNIFFED] if line.strip()])
    separator = "\t" if separator == "\\t" else separator
    if text.count(separator) > MOST_CELLS:
        raise InstanceError(f"{place}: has more than {MOST_CELLS} cells; give a part of it")
    reader = _cells(body, separator)
    try:
        header: list[str] = next(reader, [])
        columns = column_names(header)
        rows = [(reader.line_num + skipped, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InstanceError(
            f"{place}: row {reader.line_num + skipped}: not CSV ({error})"
        ) from error
    if not any(columns):
        raise InstanceError(f"{place}: is empty; the first line must name the columns")
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InstanceError(
            f"{place}: row {1 + skipped}: {listed('column', missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; the first line must name the "
            f"columns, it has {','.join(columns)[:80]!r}"
        )
    twice = [name for name in needed if columns.count(name) > 1]
    if twice:
        raise InstanceError(
            f"{place}: row {1 + skipped}: {columns.count(twice[0])} columns are called "
            f"{twice[0]!r}; rename all but one"
        )
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise InstanceError(f"{place}: has a header but no rows")
    if not ragged:
        columns = _trimmed(columns, rows)
    reach = 1 + max((columns.index(name) for name in needed), default=-1)
    for line, cells in rows:
        if len(cells) < reach if ragged else len(cells) != len(columns):
            raise InstanceError(
                f"{place}: row {line}: has {len(cells)} columns, the header has {len(columns)}; "
                + ("the file may be cut off here, copy it again" if len(cells) < len(columns) else
                   f"a cell that holds {separator!r} must be quoted")
            )  # fmt: skip
    units: tuple[str, ...] = tuple(
        cell.lower().partition("(")[2].partition(")")[0].strip() for cell in header
    )
    units = ("",) * (len(columns) - len(units)) + units if any(units) else ()
    return Table(place, columns, rows, separator, units)


def _trimmed(columns: tuple[str, ...], rows: list[tuple[int, list[str]]]) -> tuple[str, ...]:
    """Cut empty cells after the last column, in place; name R's row numbers, which have no header.

    Returns:
        The columns, with an unnamed first one if every row begins with its number.
    """
    width = len(columns)
    for _, cells in rows:
        while len(cells) > width and not cells[-1]:
            cells.pop()
    numbers = all(
        len(cells) == width + 1 and cells[0] == str(number)
        for number, (_, cells) in enumerate(rows, 1)
    )
    return ("", *columns) if numbers else columns
