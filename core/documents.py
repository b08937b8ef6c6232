"""Parse JSON that a stranger may have made: bounded in depth and digits, without double keys."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from .errors import InstanceError
from .files import read_text

MOST_DEPTH = 100  # objects and lists inside each other
MOST_DIGITS = 500  # of a number; a float has up to 309 before its point
_LONG = re.compile(rf"\d{{{MOST_DIGITS + 1}}}", re.ASCII)
_LARGE = re.compile(r"\d{300}|[eE]\+?\d{3}", re.ASCII)  # what may be too large for a float
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character outside Unicode's first plane


def read_json(path: Path) -> Any:
    """Read a JSON file of this library's own, in which NaN and infinities may stand.

    Args:
        path: the file.

    Raises:
        InstanceError: see `read_text` and `parse_json`.
    """
    return parse_json(str(path), read_text(path), finite=False)


def parse_json(place: str, text: str, finite: bool = True) -> Any:
    """Parse a JSON document.

    Args:
        place: what errors call the document.
        text: the document.
        finite: whether NaN, infinities (which JSON does not have) and numbers too large for a
            float are refused here; if not, the code that reads the values must refuse them.

    Raises:
        InstanceError: not valid JSON (names line and column), nested deeper than MOST_DEPTH, a key
            that stands twice in an object, a number of more than MOST_DIGITS digits, or half of a
            character.
    """

    def refuse(why: str) -> NoReturn:
        raise InstanceError(f"{place}: {why}")

    def constant(token: str) -> float:
        if finite:
            refuse(f"holds the number {token}, which is no quantity; give a finite one")
        return float(token)

    def number(token: str) -> float:
        return constant(token) if math.isinf(float(token)) else float(token)

    def whole(token: str) -> int:
        if len(token) > MOST_DIGITS:
            refuse(
                f"holds a number of {len(token)} digits; correct it, or quote it if it is a name"
            )
        return int(token)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in found if keys.count(key) > 1)
            refuse(f"the key {twice!r} stands twice in an object; remove one")
        return found

    try:
        # A hook for numbers costs time, so that it is only there where it may be needed.
        value = json.loads(
            text,
            parse_constant=constant,
            parse_float=number if finite and _LARGE.search(text) else None,
            parse_int=whole if _LONG.search(text) else None,
            object_pairs_hook=unique,
        )
    except InstanceError:
        raise
    except json.JSONDecodeError as error:
        end = " (the file seems cut off)" if error.pos >= len(text.rstrip()) else ""
        refuse(
            f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}{end}; copy "
            "or export it again"
        )
    except (ValueError, RecursionError) as error:
        raise InstanceError(f"{place}: cannot be read as JSON ({error})") from error
    if _is_deep(value):
        refuse(f"is nested more than {MOST_DEPTH} deep; copy or export it again")
    if _HALF.search(text) and re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)):
        refuse("holds half of a character (\\ud800 to \\udfff); correct it")
    return value


def _is_deep(value: Any) -> bool:
    """Whether lists and objects are nested deeper than MOST_DEPTH."""
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
