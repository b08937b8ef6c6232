"""Read the times of a user's own table: numbers of the unit that a column's name says, or dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..columns import plain
from ..numerals import is_missing, number
from ..stays import MB_PER_GB
from ..tables import Table

MAX_TIME = 1e15
LONG_AGO_MS = 1e11  # later times are rather milliseconds since 1970 than seconds
DATE = "2026-01-31T12:00:00"
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0, "days": 86_400.0}
UNIT_WORDS: Mapping[str, tuple[str, ...]] = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "milliseconds"),
    "us": ("us", "micros", "microseconds"),
    "min": ("min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "days": ("d", "day", "days"),
}  # fmt: skip
MEMORY_WORDS: Mapping[str, float] = {
    "mb": 1.0, "mib": 1.0, "gb": MB_PER_GB, "gib": MB_PER_GB, "g": MB_PER_GB, "m": 1.0,
}  # fmt: skip


def parted(name: str) -> tuple[str, str]:
    """Return a column's name in the spelling of `plain` and the unit in it: "arrival", "h".

    Args:
        name: such as "arrival_h" or "Arrival (h)".
    """
    bare, _, rest = name.lower().partition("(")
    unit = plain(rest)
    words = bare.replace("-", "_").replace(" ", "_").strip("_").split("_")
    known = {word for words_of in UNIT_WORDS.values() for word in words_of} | set(MEMORY_WORDS)
    if not unit and len(words) > 1 and words[-1] in known:
        unit = words.pop()
    return plain("".join(words)), unit


def unit_of(table: Table, column: int, times: str, otherwise: str) -> str:
    """Return the unit of a column's times: the setting's, that of its name, or another.

    Args:
        table: the table.
        column: index of the column.
        times: the setting.
        otherwise: the unit where none is said.

    Raises:
        InstanceError: the name has a unit in brackets that is not known.
    """
    if times != "auto":
        return times
    word = parted(table.columns[column])[1] or table.unit(column)
    found = next((unit for unit, words in UNIT_WORDS.items() if word in words), "")
    if word and not found:
        refuse_unit(table, column, word, tuple(UNIT_WORDS))
    return found or otherwise


def refuse_unit(table: Table, column: int, word: str, known: Sequence[str]) -> NoReturn:
    """Raise InstanceError about a unit in a column's name.

    Args:
        table: the table.
        column: index of the column.
        word: the unit.
        known: units that are read.
    """
    raise InstanceError(
        f"{table.place}: row 1, column {table.columns[column]!r}: the unit {word!r} is not known; "
        f"give one of {', '.join(known)}"
    )


def are_dates(table: Table, column: int, times: str) -> bool | None:
    """Whether a column holds dates; None if it holds nothing.

    Args:
        table: the table.
        column: index of the column.
        times: the setting.
    """
    filled = [cell for cell in table.texts(column) if not is_missing(cell)]
    if times != "auto" or not filled:
        return times == "dates" if filled else None
    return _looks_like_a_date(filled[0])


def moments(table: Table, column: int, times: str, empty: float) -> np.ndarray:
    """Return times in seconds, float64 [rows]; of dates since 1970, UTC where no zone is said.

    Args:
        table: the table.
        column: index of the column.
        times: the setting.
        empty: stands for an empty cell.

    Raises:
        InstanceError: a cell is no time; names file, row and column.
    """
    if not are_dates(table, column, times):
        return _numbers(table, column, times, empty)
    cells = table.texts(column)
    found = np.full(len(cells), empty)
    zones: dict[bool, int] = {}
    for row, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            date = datetime.fromisoformat(cell)
        except ValueError:
            table.refuse(row, column, f"is {cell[:40]!r}, expected a date such as {DATE}")
        zones.setdefault(date.tzinfo is not None, row)
        if len(zones) > 1:
            other = next(line for line in zones.values() if line != row)
            table.refuse(
                row, column,
                f"is {cell!r}, beside {cells[other]!r}: some have a time zone and some do not; "
                "give all of them one",
            )  # fmt: skip
        found[row] = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return found


def _numbers(table: Table, column: int, times: str, empty: float) -> np.ndarray:
    for row, cell in enumerate(table.texts(column)):
        is_date = _looks_like_a_date(cell) or ("/" in cell and any(map(str.isdecimal, cell)))
        if times == "auto" and is_date:
            table.refuse(
                row, column,
                f"is {cell[:40]!r}; give numbers throughout, or dates throughout, such as {DATE}",
            )  # fmt: skip
    unit = unit_of(table, column, times, "")
    values = reals(table, column, -MAX_TIME, empty)
    if not unit and (values[np.isfinite(values)] > LONG_AGO_MS).any():
        note(
            f"{table.place}: column {table.columns[column]!r} is read as seconds; if they are "
            "milliseconds since 1970, say so by times=ms"
        )
    return values * SECONDS[unit or "s"]


def _looks_like_a_date(cell: str) -> bool:
    return number(cell.replace(",", ".")) is None and cell[:4].isdecimal() and "-" in cell[4:8]


def reals(table: Table, column: int, low: float, empty: float) -> np.ndarray:
    """Return numbers up to MAX_TIME, float64 [rows]; NA and the like are empty.

    Args:
        table: the table.
        column: index of the column.
        low: the least allowed number.
        empty: stands for an empty cell.

    Raises:
        InstanceError: a cell is no such number.
    """
    rows = [
        (line, [*cells[:column], "" if is_missing(cells[column]) else cells[column],
                *cells[column + 1 :]])
        for line, cells in table.rows
    ]  # fmt: skip
    return replace(table, rows=rows).reals(column, low, MAX_TIME, empty)
