"""Reads CSV texts column by column and refuses bad cells by row and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from ...core.errors import InstanceError


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file's cells.

    Attributes:
        place: the file, for errors.
        columns: the header's names, without what stands in brackets ("memory(GB)" is "memory").
        rows: line number and cells of each row that is not empty.
    """

    place: str
    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]

    def refuse(self, row: int, column: str, why: str) -> NoReturn:
        """Raises InstanceError naming file, row (line number) and column."""
        raise InstanceError(f"{self.place}: row {self.rows[row][0]}, column {column!r}: {why}")

    def texts(self, column: str) -> list[str]:
        """The cells of a column."""
        at = self.columns.index(column)
        return [cells[at].strip() for _, cells in self.rows]

    def names(self, column: str) -> list[str]:
        """The cells of a column of names.

        Raises:
            InstanceError: a name is empty.
        """
        cells = self.texts(column)
        if "" in cells:
            self.refuse(cells.index(""), column, "is empty; give a name")
        return cells

    def unique(self, column: str) -> list[str]:
        """The cells of a column of names.

        Raises:
            InstanceError: a name is empty or stands twice.
        """
        cells = self.names(column)
        first: dict[str, int] = {}
        for row, cell in enumerate(cells):
            if first.setdefault(cell, row) != row:
                line = self.rows[first[cell]][0]
                self.refuse(row, column, f"{cell!r} is in row {line} too; ids must be unique")
        return cells

    def reals(self, column: str, low: float, high: float, empty: float | None = None) -> np.ndarray:
        """The cells of a column of numbers, float64; an empty cell reads as `empty` where that is
        given.

        Raises:
            InstanceError: a cell is not a finite number between the bounds.
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
            if not (math.isfinite(value) and low <= value <= high):
                self.refuse(row, column, f"is {cell}, outside {low:g}..{high:g}; correct it")
            values[row] = value
        return values

    def wholes(self, column: str, low: int, high: int) -> np.ndarray:
        """The cells of a column of whole numbers, int64.

        Raises:
            InstanceError: a cell is not a whole number between the bounds.
        """
        values = self.reals(column, low, high)
        broken = np.flatnonzero(values != np.floor(values))
        if broken.size:
            row = int(broken[0])
            self.refuse(row, column, f"is {values[row]:g}, expected a whole number")
        return values.astype(np.int64)


def header_of(line: str) -> tuple[str, ...]:
    """The column names in a CSV file's first line, in small letters, without what stands in
    brackets.
    """
    return tuple(cell.partition("(")[0].strip().lower() for cell in line.strip().split(","))


def read_table(place: str, text: str, needed: Iterable[str]) -> Table:
    """The cells of a CSV text with a header.

    Raises:
        InstanceError: a needed column is missing, there are no rows, or a row has another number of
            cells.
    """
    try:
        lines = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise InstanceError(f"{place}: cannot be read as CSV ({error})") from error
    columns = header_of(text.partition("\n")[0])
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InstanceError(
            f"{place}: row 1: the column {missing[0]!r} is missing; the header has "
            f"{', '.join(columns)}"
        )
    rows = [(number, cells) for number, cells in enumerate(lines[1:], start=2) if cells]
    if not rows:
        raise InstanceError(f"{place}: has a header but no rows; there is nothing to reschedule")
    for number, cells in rows:
        if len(cells) != len(columns):
            raise InstanceError(
                f"{place}: row {number}: has {len(cells)} columns, the header has {len(columns)}; "
                "the file may be cut off here, copy it again"
            )
    return Table(place, columns, rows)
