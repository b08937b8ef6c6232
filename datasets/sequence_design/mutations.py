"""Read variants written as mutations of a wild type: A23G, V78A_H138Y, p.Ala23Gly, WT."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from ...core.errors import InstanceError
from ...core.notes import note

FIRST = 1  # the usual number of the first letter
# How the wild type itself is written, in lower case.
_WILD = frozenset({"wt", "_wt", "wt_seq", "wildtype", "wild-type", "wild type", "wild_type",
                   "parent", "reference", "native", "=", "p.=", "c.=", "n.="})  # fmt: skip
_PREFIX = re.compile(r"^[pcng]\.\s*")
_MARKS = re.compile(r"[:_,;/+&|\s]+|(?<=[A-Za-z*=])-(?=[A-Za-z]\d)")
_SHORT = re.compile(r"([A-Za-z*])(\d{1,6})([A-Za-z*=-])")
_LONG = re.compile(r"([A-Za-z]{3})(\d{1,6})([A-Za-z]{3}|[*=])")
_BASES = re.compile(r"(\d{1,6})([ACGTUacgtu])>([ACGTUacgtu])")
_CODES = {
    "ala": "A", "arg": "R", "asn": "N", "asp": "D", "cys": "C", "gln": "Q", "glu": "E", "gly": "G",
    "his": "H", "ile": "I", "leu": "L", "lys": "K", "met": "M", "phe": "F", "pro": "P", "ser": "S",
    "thr": "T", "trp": "W", "tyr": "Y", "val": "V", "ter": "*", "stp": "*",
}  # fmt: skip

Refuse = Callable[[int, str], NoReturn]


class Change(NamedTuple):
    """One substitution.

    Attributes:
        old: letter of the wild type.
        position: its number, as the table counts.
        new: letter of the variant.
    """

    old: str
    position: int
    new: str


def is_notation(cells: Sequence[str]) -> bool:
    """Whether most of a column's cells are mutations or the wild type's name.

    Args:
        cells: the column's cells.
    """
    some = [cell for cell in cells if cell][:200]
    read = sum(_parsed(cell) is not None for cell in some)
    changed = sum(any(letter.isdecimal() for letter in cell) for cell in some)
    return changed > 0 and read > len(some) / 2


def changes_of(cells: Sequence[str], refuse: Refuse) -> list[tuple[Change, ...]]:
    """Parse a column of mutations; the wild type has none.

    Args:
        cells: the column's cells.
        refuse: (row, why) -> raises the error that names the row.

    Raises:
        InstanceError: a cell is no notation, or changes one position twice.
    """
    changes = []
    for row, cell in enumerate(cells):
        found = _parsed(cell)
        if found is None:
            refuse(row, f"{cell[:40]!r} is no mutation such as A23G, A23G:K5R or WT; insertions and"
                   " deletions cannot be read: give whole sequences")  # fmt: skip
        positions = [change.position for change in found]
        if len(set(positions)) < len(positions):
            refuse(row, f"{cell[:40]!r} changes one position twice; correct it or drop the row")
        changes.append(found)
    return changes


def _parsed(cell: str) -> tuple[Change, ...] | None:
    text = cell.strip()
    if text.lower() in _WILD:
        return ()
    text = _PREFIX.sub("", text).translate({ord(mark): " " for mark in "[]()"})
    changes = []
    for part in filter(None, _MARKS.split(text.strip())):
        part = _PREFIX.sub("", part)
        if long := _LONG.fullmatch(part):
            old, new = _CODES.get(long[1].lower()), _CODES.get(long[3].lower(), long[3])
            if old is None or len(new) != 1:
                return None
            changes.append(Change(old, int(long[2]), old if new == "=" else new))
        elif short := _SHORT.fullmatch(part):
            old, new = short[1].upper(), short[3].upper()
            changes.append(Change(old, int(short[2]), old if new == "=" else new))
        elif bases := _BASES.fullmatch(part):
            changes.append(Change(bases[2].upper(), int(bases[1]), bases[3].upper()))
        else:
            return None
    return tuple(changes) or None


def applied(
    changes: Sequence[tuple[Change, ...]], wild_type: str, first: int | None, refuse: Refuse
) -> list[str]:
    """Write out the variants.

    Args:
        changes: of each of N variants.
        wild_type: L letters.
        first: the number of the wild type's first letter; None to find it: 1 if that fits all
            mutations, else the only number that does, which is said.
        refuse: (row, why) -> raises the error that names the row.

    Returns:
        N sequences of L letters.

    Raises:
        InstanceError: mutations do not fit the wild type.
    """
    old: dict[int, tuple[str, int]] = {}
    for row, variant in enumerate(changes):
        for change in variant:
            letter, other = old.setdefault(change.position, (change.old, row))
            if letter != change.old:
                refuse(row, f"{_text(change)}: the wild type's letter at {change.position} is "
                       f"{letter!r} in {_text(changes[other][0])}; correct one")  # fmt: skip
    start = first
    if start is None:
        start = _first({at: letter for at, (letter, _) in old.items()}, wild_type, refuse)
    sequences = []
    for row, variant in enumerate(changes):
        letters = list(wild_type)
        for change in variant:
            at = change.position - start
            if not 0 <= at < len(letters):
                refuse(row, f"{_text(change)}: the wild type has {len(letters)} letters, counted "
                       f"from {start}; set first_position or wild_type")  # fmt: skip
            if letters[at] != change.old:
                refuse(row, f"{_text(change)}: the wild type has {letters[at]!r} there, counted "
                       f"from {start}; set first_position or wild_type")  # fmt: skip
            letters[at] = change.new
        sequences.append("".join(letters))
    return sequences


def _first(old: dict[int, str], wild_type: str, refuse: Refuse) -> int:
    """Return the number of the first letter by which the old letters are the wild type's.

    Args:
        old: position -> the letter that mutations say the wild type has there.
        wild_type: L letters.
        refuse: (row, why) -> raises.
    """
    fitting = _fitting([(old, wild_type)], len(wild_type))
    if FIRST in fitting or not fitting:
        return FIRST
    if len(fitting) > 1:
        refuse(0, f"the wild type's first letter may be number {fitting[0]} or {fitting[1]}; set "
               "first_position")  # fmt: skip
    note(f"mutations are counted from {fitting[0]}: so all their letters are the wild type's")
    return fitting[0]


def _fitting(seen: Sequence[tuple[dict[int, str], str]], length: int) -> list[int]:
    """Return the numbers of a first letter by which sequences have letters at positions.

    Args:
        seen: position -> letter, and the sequence that should have them, for each sequence.
        length: letters of a sequence.
    """
    places = [at for letters, _ in seen for at in letters]
    if not places:
        return [FIRST]
    low, high = max(places) - length + 1, min(places)
    return [
        first
        for first in range(low, high + 1)
        if all(
            text[at - first] == letter for letters, text in seen for at, letter in letters.items()
        )
    ]


def recovered(
    changes: Sequence[tuple[Change, ...]], texts: Sequence[str], place: str, first: int | None
) -> str:
    """Return the wild type that variants, given both ways, come from; empty if it cannot be told.

    Args:
        changes: of each of N variants.
        texts: their sequences.
        place: the file, for the note on why it cannot be told.
        first: number of the first letter; None to find it.
    """
    whole = len(set(map(len, texts))) == 1
    seen = [
        ({change.position: change.new for change in variant}, text)
        for variant, text in zip(changes, texts, strict=True)
    ]
    fitting = [] if not whole else _fitting(seen, len(texts[0])) if first is None else [first]
    start = FIRST if FIRST in fitting else fitting[0] if len(fitting) == 1 else None
    found = set()
    if start is not None:
        for variant, text in zip(changes, texts, strict=True):
            letters = list(text)
            for change in variant:
                if not 0 <= change.position - start < len(letters):
                    raise InstanceError(f"{place}: first_position={first}: {_text(change)} lies "
                                        "outside of the sequence")  # fmt: skip
                letters[change.position - start] = change.old
            found.add("".join(letters))
    if len(found) == 1:
        return found.pop()
    note(
        f"{place}: the mutations and the sequences of its rows lead to no common wild type; set "
        "wild_type if designs should keep to it"
    )
    return ""


def _text(change: Change) -> str:
    return f"{change.old}{change.position}{change.new}"
