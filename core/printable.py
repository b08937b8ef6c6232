"""Texts that others wrote, as they can be shown: no name moves a cursor, ends a line, hides what
follows it or stops an encoder.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Categories of Unicode that have no shape of their own: control characters, marks of direction and
# other invisible ones, halves of surrogate pairs, and the ends of lines and paragraphs.
SHAPELESS = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"  # emoji and several scripts are written with them


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in one line, with what has no shape written as its escape, such as \n or \x1b.

    Args:
        text: any text.
        keep: characters that stay as they are, such as "\n" where several lines may be shown.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in keep or char in JOINERS or unicodedata.category(char) not in SHAPELESS
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )  # fmt: skip


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, with an ellipsis in place of its middle.

    Args:
        text: any text.
        most: characters to keep, at least 3.
    """
    if len(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def labels(names: Iterable[str], most: int = 48) -> dict[str, str]:
    """Return a short label for each name, as a drawing can hold it; no two are alike.

    Args:
        names: any texts.
        most: characters of a label.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        label = short = shortened(printable(name), most)
        number = 1
        while label in found.values():
            number += 1
            label = f"{short} ({number})"
        # matplotlib leaves out of its legends what begins with an underscore.
        found[name] = f" {label}" if label.startswith("_") else label
    return found
