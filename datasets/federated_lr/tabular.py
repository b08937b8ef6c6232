"""Read tables of numbers: CSV with a column `label`, and UCI's optdigits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from ...core.errors import InstanceError
from ..tables import read_table
from .instance import LARGEST, Federation
from .partition import federation_of, natural

LABEL, CLIENT = "label", "client"
OPTDIGITS_CELLS = 65  # 8 x 8 pixels in 0..16, and the digit
OPTDIGITS_BRIGHTEST, OPTDIGITS_CLASSES = 16, 10


def is_optdigits(text: str) -> bool:
    """Whether the first line of data has 65 cells of decimal digits."""
    first = next(_lines(text), (0, []))[1]
    return len(first) == OPTDIGITS_CELLS and all(cell.isdecimal() for cell in first)


def optdigits(place: str, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Read optdigits.tra, .tes or .hol.

    Args:
        place: the file, for error messages.
        text: lines of 64 pixels and a digit; lines that begin with # are skipped.

    Returns:
        Images float32 [N, 1, 8, 8] in 0..1, and labels int64 [N].

    Raises:
        InstanceError: a line is not of this form.
    """
    rows = []
    for number, cells in _lines(text):
        if len(cells) != OPTDIGITS_CELLS:
            raise InstanceError(
                f"{place}, line {number}: has {len(cells)} cells, expected {OPTDIGITS_CELLS}; "
                "download the file again"
            )
        values = [int(cell) if cell.isdecimal() and len(cell) < 4 else -1 for cell in cells]
        odd = [
            column
            for column, value in enumerate(values)
            if not 0 <= value <= (OPTDIGITS_BRIGHTEST if column < 64 else OPTDIGITS_CLASSES - 1)
        ]
        if odd:
            raise InstanceError(
                f"{place}, line {number}, column {odd[0] + 1}: {cells[odd[0]]!r} is no pixel of "
                f"0..{OPTDIGITS_BRIGHTEST} or digit; mend or drop the line"
            )
        rows.append(values)
    table = np.array(rows, np.int64)
    pixels = (table[:, :-1] / OPTDIGITS_BRIGHTEST).astype(np.float32)
    return pixels.reshape(-1, 1, 8, 8), table[:, -1]


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line that is neither empty nor a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, [cell.strip() for cell in line.split(",")]


def table_federation(place: str, name: str, text: str) -> Federation:
    """Read the federation in a CSV with a header.

    The column `label` holds classes, `client` the client's name if rows belong to clients, and all
    others numbers, which are scaled to mean 0 and standard deviation 1 over the training rows.

    Args:
        place: the file, for error messages.
        name: name of the federation.
        text: content of the file.

    Raises:
        InstanceError: the table is malformed; names line and column.
    """
    table = read_table(place, text, (LABEL,))
    at = [table.columns.index(name) for name in (LABEL, CLIENT) if name in table.columns]
    numbers = [column for column in range(len(table.columns)) if column not in at]
    if not numbers:
        raise InstanceError(f"{place}: has no column of numbers besides {LABEL} and {CLIENT}")
    inputs = np.stack([table.reals(column, -LARGEST, LARGEST) for column in numbers], axis=1)
    labels = _coded(table.names(LABEL))
    owner = natural(np.array(table.names(CLIENT))) if CLIENT in table.columns else None
    classes = max(2, int(labels.max()) + 1)
    return _scaled(name, inputs, labels, owner, classes)


def _coded(labels: Sequence[str]) -> np.ndarray:
    """Number labels in ascending order, numeric if all are integers, else alphabetic; int64 [N]."""
    whole = all(re.fullmatch(r"-?\d{1,18}", text) for text in labels)
    order = sorted(set(labels), key=(lambda text: (int(text), text)) if whole else None)
    code = {text: number for number, text in enumerate(order)}
    return np.array([code[text] for text in labels], np.int64)


def _scaled(
    name: str, inputs: np.ndarray, labels: np.ndarray, owner: np.ndarray | None, classes: int
) -> Federation:
    """Make a federation with inputs scaled by the training rows alone.

    The split is drawn first, on row numbers, so that rows held out do not influence the scale.
    """
    lone = np.arange(len(inputs), dtype=np.float32)[:, None]
    drawn = federation_of(name, lone, labels, owner=owner, classes=classes)
    train = inputs[drawn.inputs[:, 0].astype(np.int64)]
    middle, spread = train.mean(axis=0), train.std(axis=0)
    scaled = ((inputs - middle) / np.where(spread > 0, spread, 1)).astype(np.float32)
    return federation_of(name, scaled, labels, owner=owner, classes=classes)
