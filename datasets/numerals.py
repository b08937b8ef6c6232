"""Read numbers as people write them into tables: decimal commas, thousands, missing values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NoReturn

# What stands in a cell that holds nothing, in lower case.
MISSING = frozenset(
    {"", "na", "n/a", "n.a.", "<na>", "#n/a", "#na", "#n/a n/a", "nan", "-nan", "#nan", "1.#qnan",
     "null", "(null)", "none", "nil", "missing", "nd", "n.d.", "?", "-", "--", ".", "#null!",
     "#num!", "#value!", "#div/0!", "#ref!", "#name?"}
)  # fmt: skip
# Those that may be words of their own, in a column of texts.
WORDS = frozenset({"none", "nil", "missing", "nd", "n.d.", "-", "--", "."})
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-"})  # a minus sign, a dash


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value: empty, NA, #N/A, ?, null, ...

    Args:
        cell: the stripped cell.
    """
    return cell.lower() in MISSING


def number(cell: str) -> float | None:
    """Return the number in a cell with a decimal point, infinities included; None if it is none.

    Unlike Python's `float`, it takes neither 1_000 nor digits of other scripts.

    Args:
        cell: the stripped cell.
    """
    return float(cell) if _PLAIN.fullmatch(cell) or _INFINITE.fullmatch(cell) else None


def plain_numbers(
    cells: Sequence[str],
    separator: str,
    refuse: Callable[[int, str], NoReturn],
    elsewhere: Callable[[], tuple[bool, bool]] = lambda: (False, False),
) -> Sequence[str]:
    """Rewrite the numbers of a column with decimal points and without marks of thousands.

    Which mark is which is told from the whole column. Cells that are no numbers stay as they are.

    Args:
        cells: the column's stripped cells.
        separator: what separates the cells of a row; with semicolons goes the decimal comma.
        refuse: (row, why) -> raises the error that names the row.
        elsewhere: () -> whether other columns have numbers with decimal commas, and with points.

    Raises:
        InstanceError: the column mixes decimal points and commas, or cannot be told.
    """
    if any("\u2212" in cell or "\u2013" in cell for cell in cells):
        cells = [
            fixed
            if number((fixed := cell.translate(_MINUS)).replace(",", ".")) is not None
            else cell
            for cell in cells
        ]
    commas = [row for row, cell in enumerate(cells) if "," in cell and _digits(cell)]
    if not commas and separator == ",":
        return cells
    points = [row for row, cell in enumerate(cells) if "." in cell and _digits(cell)]
    if not commas:
        grouped = [row for row in points if _grouped(cells[row], ".")]
        if points and len(grouped) == len(points) and elsewhere()[0]:
            refuse(points[0], f"is {cells[points[0]]}, in a table with decimal commas: write it "
                   "without marks of thousands")  # fmt: skip
        return cells
    both = sorted(set(commas) & set(points))
    if both:
        ends = {"," if cells[row].rfind(",") > cells[row].rfind(".") else "." for row in both}
        mark = ends.pop() if len(ends) == 1 else ""
    elif points:
        mark = ""
    elif any(cells[row].count(",") > 1 for row in commas):
        mark = "."
    else:
        mark = ","
        unsure = all(_grouped(cells[row], ",") for row in commas)
        comma, point = elsewhere() if unsure else (True, False)
        if point or (separator != ";" and not comma):
            refuse(commas[0], f"is {cells[commas[0]]}, which may be a decimal comma or a mark of "
                   "thousands; write decimal points")  # fmt: skip
    thousands = "." if mark == "," else ","
    plain = list(cells)
    for row in sorted({*commas, *points}):
        cell = cells[row]
        whole, _, _ = cell.partition(mark) if mark else (cell, "", "")
        if not mark or (thousands in cell and not _grouped(whole, thousands)):
            other = cells[points[0] if "," in cell else commas[0]] if points else cells[commas[0]]
            refuse(row, f"is {cell}, beside {other}: decimal points and commas are mixed; write "
                   "decimal points throughout")  # fmt: skip
        plain[row] = cell.replace(thousands, "").replace(mark, ".")
    return plain


def has_decimal_comma(cell: str) -> bool:
    """Whether a cell is a number whose comma can only be a decimal one.

    Args:
        cell: the stripped cell.
    """
    return _WITH_COMMA.fullmatch(cell) is not None and not _grouped(cell, ",")


def has_decimal_point(cell: str) -> bool:
    """Whether a cell is a number whose point can only be a decimal one.

    Args:
        cell: the stripped cell.
    """
    return "." in cell and _PLAIN.fullmatch(cell) is not None and not _grouped(cell, ".")


def _digits(cell: str) -> bool:
    """Whether a cell is a number, whatever its marks."""
    return _PLAIN.fullmatch(cell.replace(",", "").replace(".", "")) is not None


def _grouped(cell: str, mark: str) -> bool:
    """Whether a number can be one whose marks are those of thousands, such as 1,234,567."""
    groups = cell.lstrip("+-").split(mark)
    first, others = groups[0], groups[1:]
    whole = first.isdecimal() and len(first) < 4 and first[0] != "0"
    return bool(others) and whole and all(len(g) == 3 and g.isdecimal() for g in others)
