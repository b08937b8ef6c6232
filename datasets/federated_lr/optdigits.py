"""Read UCI's optdigits: lines of 64 pixels and a digit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.errors import InstanceError

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
