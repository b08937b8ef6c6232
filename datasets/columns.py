"""Find a table's columns by what people call them, or by the name that a setting gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import InstanceError, SettingError
from .tables import Table, column_names


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column that a reader looks for.

    Attributes:
        what: what it holds, for messages ("scores").
        setting: the setting that names it.
        ranks: names in the spelling of `plain`; those of an earlier rank are preferred.
        groups: whether it only groups rows, so that columns that divide them alike are one.
    """

    what: str
    setting: str
    ranks: tuple[frozenset[str], ...]
    groups: bool = False


def plain(name: str) -> str:
    """Spell a name without capitals, spaces and marks: "Client ID" and "client_id" are "clientid".

    Args:
        name: a column's name.
    """
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def find_column(table: Table, wanted: Wanted, settings: Mapping[str, str]) -> int | None:
    """Return the index of a column, None if the table has none of that name.

    Args:
        table: the table.
        wanted: what is looked for.
        settings: texts by name; `wanted.setting` may name the column, or give its place from 1.

    Raises:
        InstanceError: several columns may be meant.
        SettingError: the setting names no column.
    """
    if wanted.setting in settings:
        return _given(table, wanted, settings[wanted.setting])
    for rank in wanted.ranks:
        found = [at for at, name in enumerate(table.columns) if plain(name) in rank]
        if len(found) == 1 or (found and alike(table, found, wanted.groups)):
            return found[0]
        if found:
            raise InstanceError(
                f"{table.place}: row 1: the {wanted.what} may be in {_choices(table, found)}; "
                f"choose one by the setting {wanted.setting}"
            )
    return None


def alike(table: Table, found: Sequence[int], groups: bool) -> bool:
    """Whether columns hold the same, or divide the rows into the same groups.

    Args:
        table: the table.
        found: indices of columns, at least one.
        groups: whether the groups count alone, whatever they are called.
    """
    first, *others = (table.texts(at) for at in found)
    if not groups:
        return all(other == first for other in others)
    return all(
        len(set(zip(first, other, strict=True))) == len(set(first)) == len(set(other))
        for other in others
    )


def _given(table: Table, wanted: Wanted, given: str) -> int:
    exact = column_names([given])[0]
    names = table.columns
    found = [at for at, name in enumerate(names) if name in (exact, given.strip().lower())]
    found = found or [at for at, name in enumerate(names) if plain(name) == plain(given)]
    is_place = given.isascii() and given.isdecimal() and len(given) < 10
    if not found and is_place and 0 < int(given) <= len(names):
        found = [int(given) - 1]
    if len(found) == 1:
        return found[0]
    if found:
        raise SettingError(
            f"{wanted.setting}={given!r}: {table.place} has that name twice; give the place, "
            f"{' or '.join(str(at + 1) for at in found)}"
        )
    raise SettingError(
        f"{wanted.setting}={given!r}: {table.place} has the columns {', '.join(names)}; give one "
        "of them"
    )


def _choices(table: Table, found: Sequence[int]) -> str:
    """Name columns for a message; those of one name by their places."""
    names = [table.columns[at] for at in found]
    if len(set(names)) < len(names):
        return " or ".join(f"column {at + 1} ({table.columns[at]!r})" for at in found)
    return " or ".join(map(repr, names))
