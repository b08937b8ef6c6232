"""Read the texts of settings: whole numbers, real numbers, one of several words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..core.errors import SettingError

LONGEST = 60  # characters of a text that a message repeats


def whole(values: Mapping[str, str], key: str, most: int, least: int = 0) -> int:
    """Read an integer setting.

    Args:
        values: texts by name.
        key: name of the setting.
        most: largest allowed value.
        least: least allowed value.

    Raises:
        SettingError: the text is not an integer from `least` to `most`.
    """
    text = values[key].strip()
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if not plain or not least <= int(text) <= most:
        raise SettingError(f"{key}={cut(values[key])}; give a whole number from {least} to {most}")
    return int(text)


def real(
    values: Mapping[str, str], key: str, limits: tuple[float, float] = (-math.inf, math.inf)
) -> float:
    """Read a setting that is a real number.

    Args:
        values: texts by name.
        key: name of the setting.
        limits: least and largest allowed value.

    Raises:
        SettingError: the text is not a number within the limits.
    """
    try:
        value = float(values[key])
    except ValueError:
        value = math.nan
    if not limits[0] <= value <= limits[1]:
        within = "" if math.isinf(limits[1]) else f" from {limits[0]:g} to {limits[1]:g}"
        raise SettingError(f"{key}={cut(values[key])}; give a number{within}")
    return value


def choice(values: Mapping[str, str], key: str, known: tuple[str, ...]) -> str:
    """Read a setting that must be one of several words; the first is the default.

    Args:
        values: texts by name.
        key: name of the setting.
        known: the allowed words.

    Raises:
        SettingError: the text is none of them.
    """
    text = values.get(key, known[0]).strip().lower()
    if text not in known:
        raise SettingError(f"{key}={cut(text)}; give one of {', '.join(known)}")
    return text


def cut(text: str) -> str:
    """Quote a user's text for an error message; of a long one the beginning.

    Args:
        text: of any length, perhaps with characters that cannot be printed.
    """
    return ascii(text) if len(text) <= LONGEST else f"{text[:LONGEST]!a}..."
