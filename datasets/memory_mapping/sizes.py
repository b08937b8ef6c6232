"""Read amounts of memory: bytes, 8MiB, or a fraction of the peak."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NoReturn

from ...core.errors import SettingError

UNITS = {
    "": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9,
}  # fmt: skip

MOST_CHARACTERS = 50
_PLAIN = re.compile(r"[\d./%\s]*[a-z]*", re.ASCII)  # no exponents, which make numbers of any size


def read_capacity(text: str, peak: Callable[[], int]) -> int:
    """Convert text to bytes: "1048576", "8MiB", or a fraction of the peak: "1/4", "0.25", "25%".

    A decimal number up to 1 with a point in it is a fraction; "1/1" is the whole peak. A fraction's
    bytes are rounded up.

    Args:
        text: the amount.
        peak: () -> bytes of the program's peak; called only for fractions.

    Raises:
        SettingError: the text is none of these, or not positive.
    """
    stated = text.strip().lower()
    fraction: Fraction | None = None
    if len(stated) > MOST_CHARACTERS or not _PLAIN.fullmatch(stated):
        _refuse(text)
    try:
        if stated.endswith("%"):
            fraction = Fraction(stated[:-1]) / 100
        elif "/" in stated or re.fullmatch(r"(0?\.\d+|1\.0*)", stated):
            fraction = Fraction(stated)
    except (ValueError, ZeroDivisionError):
        _refuse(text)
    if fraction is not None:
        if fraction <= 0:
            _refuse(text)
        return -int(-fraction * peak() // 1)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", stated)
    if match is None or match[2] not in UNITS:
        _refuse(text)
    capacity = int(Fraction(match[1]) * UNITS[match[2]])
    if capacity < 1:
        _refuse(text)
    return capacity


def _refuse(text: str) -> NoReturn:
    raise SettingError(
        f"capacity {text[:60]!r} cannot be used; give positive bytes (8388608, 8MiB) or a fraction "
        "of the program's peak (1/4, 0.25, 25%)"
    )
