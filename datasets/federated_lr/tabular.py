"""Read tables whose rows are labeled, and may belong to clients: CSV in any dialect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..columns import Wanted, alike, find_column, plain
from ..files import NO_SETTINGS
from ..numerals import number
from ..tables import Table, read_table
from .instance import LARGEST, Federation
from .partition import federation_of, natural

LABEL = Wanted(
    "labels", "label_column",
    (
        frozenset({"label"}),
        frozenset({"target", "y", "class", "labels", "targets", "classes", "classlabel",
                   "targetclass", "outcome", "diagnosis"}),
    ),
)  # fmt: skip
_PLACES = ("user", "site", "hospital", "device", "institution", "center", "centre", "silo", "party",
           "organization", "organisation", "org", "clinic", "bank", "branch", "store", "writer",
           "speaker", "owner", "participant", "patient", "subject", "person", "worker", "sensor",
           "phone", "customer", "account")  # fmt: skip
_ENDS = ("id", "ids", "name", "no", "nr", "num", "number", "idx", "index", "key", "code", "label",
         "uid", "uuid", "hash")  # fmt: skip
CLIENT = Wanted(
    "clients", "client_column",
    (
        frozenset({"client"}),
        frozenset({*(f"client{end}" for end in _ENDS), "clients", "cid", "flclient", "fedclient"}),
        frozenset(f"{place}{end}" for place in _PLACES for end in ("", *_ENDS)),
    ),
    groups=True,
)  # fmt: skip
NONE = "none"  # client_column=none: rows belong to nobody
_NUMBERED = frozenset({"", "index", "id", "row", "rowid", "rowindex", "rownumber", "rownum",
                       "sampleid", "recordid", "caseid", "uid", "idx"})  # fmt: skip
MOST_CATEGORIES = 50  # different texts in a column that become a feature each
MOST_NUMBERS = 2**26  # of all rows together: they are copied several times
_EXACT = 2.0**53  # whole numbers below are exact in float64
MOST_VALUES = 20  # different numbers in a column of labels, unless each stands for many rows
ROWS_A_VALUE = 10


def table_federation(
    place: str, name: str, text: str, settings: Mapping[str, str] = NO_SETTINGS
) -> Federation:
    """Read the federation in a table with a header.

    One column holds classes, one perhaps the client of each row; the others are features. Numbers
    are scaled to mean 0 and standard deviation 1 over the training rows; a column of texts becomes
    a feature for each text. Row numbers are no features; rows with missing values are left out.
    What is decided is said.

    Args:
        place: the file, for error messages.
        name: name of the federation.
        text: content of the file.
        settings: texts by name; `label_column` and `client_column` name the columns.

    Raises:
        InstanceError: the table is malformed; names line and column.
        SettingError: a setting names no column.
    """
    table = read_table(place, text, ())
    label = find_column(table, LABEL, settings)
    if label is None:
        raise InstanceError(
            f"{place}: row 1: no column is called like labels (label, target, class, ...): the "
            f"columns are {', '.join(map(repr, table.columns))[:200]}; name the one of the classes "
            "by the setting label_column, and put a header above the data if there is none"
        )
    client = _client(table, label, settings)
    left_out = _row_numbers(table, label, client)
    features = [
        at for at in range(len(table.columns)) if at not in (label, client) and at not in left_out
    ]
    if not features:
        raise InstanceError(f"{place}: has no column of features besides labels and clients")
    _say_columns(table, label, client, left_out)
    table = _complete(table, [*features, label, *([] if client is None else [client])])
    labels = _coded(table, label)
    owner = None if client is None else _owners(table, client)
    parts: list[np.ndarray] = []
    for at in features:
        parts.append(_feature(table, at))
        if len(table.rows) * sum(part.shape[1] for part in parts) > MOST_NUMBERS:
            raise InstanceError(
                f"{place}: its columns of texts make more than {MOST_NUMBERS:,} numbers, one "
                "feature for each text; drop some, or give numbers"
            )
    inputs = np.column_stack(parts)
    return _scaled(name, inputs, labels, owner, int(labels.max()) + 1)


def _client(table: Table, label: int, settings: Mapping[str, str]) -> int | None:
    """Return the column of clients, None if there is none; one that numbers rows is none."""
    if settings.get(CLIENT.setting, "").strip().lower() == NONE:
        return None
    client = find_column(table, CLIENT, settings)
    if client is None or client == label:
        return None
    cells = table.texts(client)
    certain = CLIENT.setting in settings or plain(table.columns[client]) in CLIENT.ranks[0]
    if not certain and any(not float(value).is_integer() for value in _finite(cells)):
        return None  # such as the center of something
    if len(set(cells)) < len(cells) or len(cells) == 1:
        return client
    if certain:
        table.refuse(0, client, "every row has a client of its own; name the column of the clients "
                     "by the setting client_column, or none")  # fmt: skip
    return None


def _finite(cells: Sequence[str]) -> list[float]:
    values = map(number, cells)
    return [value for value in values if value is not None and math.isfinite(value)]


def _row_numbers(table: Table, label: int, client: int | None) -> set[int]:
    """Return the columns that only number or name rows, or clients again: pandas' index, ids."""
    found = set()
    for at, name in enumerate(table.columns):
        if at in (label, client):
            continue
        cells = [cell for cell in table.texts(at) if cell]
        different = len(cells) > 1 and len(set(cells)) == len(cells)
        values = _finite(cells)
        numbered = different and len(values) == len(cells) and all(map(float.is_integer, values))
        unnamed = not name or name.startswith("unnamed:")
        of_client = any(plain(name) in rank for rank in CLIENT.ranks)
        is_id = plain(name) in _NUMBERED or of_client
        again = of_client and client is not None and alike(table, [client, at], True)
        named = different and not values
        if (unnamed and (numbered or not cells)) or (is_id and (numbered or named)) or again:
            found.add(at)
        elif unnamed:
            table.refuse(0, at, f"column {at + 1} has no name; name it in the first line")
    return found


def _say_columns(table: Table, label: int, client: int | None, left_out: set[int]) -> None:
    """Say what a column was taken for, unless it is called so."""
    names = table.columns
    told = [f"labels are read from the column {names[label]!r}"] * (names[label] != "label")
    if client is not None and names[client] != "client":
        told.append(
            f"clients are read from the column {names[client]!r} (client_column=NAME or {NONE} to "
            "have it otherwise)"
        )
    rivals = [name for name in names if any(plain(name) in rank for rank in LABEL.ranks)]
    if len(rivals) > 1:
        others = ", ".join(repr(name) for name in rivals if name != names[label])
        told = [f"labels are read from the column {names[label]!r}; {others} is a feature"]
    unread = [
        repr(name) for at, name in enumerate(names)
        if at not in left_out and at != client and "client" in plain(name)
    ]  # fmt: skip
    if unread:
        told.append(f"{', '.join(unread)} is a feature (client_column=NAME if it names clients)")
    if left_out:
        which = ", ".join(repr(names[at]) if names[at] else f"{at + 1}" for at in sorted(left_out))
        told.append(f"column {which} only numbers or names rows or clients and is left out")
    if told:
        note(f"{table.place}: {'; '.join(told)}")


def _complete(table: Table, used: Sequence[int]) -> Table:
    """Leave out the rows in which a used column holds nothing."""
    present = np.column_stack([table.present(at) for at in used])
    kept = np.logical_and.reduce(present, axis=1)
    if kept.all():
        return table
    lost = [(int(count), table.columns[at]) for at, count in
            zip(used, (~present).sum(axis=0), strict=True) if count]  # fmt: skip
    names = ", ".join(f"{name!r} ({count})" for count, name in sorted(lost, reverse=True)[:5])
    count = int(np.count_nonzero(~kept))
    if 2 * count > len(kept):
        raise InstanceError(
            f"{table.place}: {count} of {len(kept)} rows lack a value, in the columns {names}; "
            "fill them in, or drop these columns"
        )
    first = table.rows[int(np.flatnonzero(~kept)[0])][0]
    note(
        f"{table.place}: {count} of {len(kept)} rows lack a value, in the columns {names} (the "
        f"first is row {first}); left out"
    )
    return table.only(kept)


def _feature(table: Table, at: int) -> np.ndarray:
    """Return a column as features, float64 [N, k]: numbers, or one column a text."""
    cells = table.numerals(at)
    if any(number(cell) is not None for cell in cells):
        return table.reals(at, -LARGEST, LARGEST)[:, None]
    texts = sorted(set(cells))
    if len(texts) > MOST_CATEGORIES or 2 * len(texts) > len(cells):
        table.refuse(0, at, f"is {cells[0]!r}, one of {len(texts)} different texts in {len(cells)} "
                     "rows; drop the column, or give numbers or few categories")  # fmt: skip
    note(
        f"{table.place}: the column {table.columns[at]!r} holds texts; each of "
        f"{', '.join(map(repr, texts))[:100]} is a feature of its own"
    )
    codes = {text: code for code, text in enumerate(texts)}
    one_hot: np.ndarray = np.eye(len(texts))[[codes[cell] for cell in cells]]
    return one_hot


def _owners(table: Table, client: int) -> np.ndarray:
    """Return the client of each row, int64 [N]; 3 and 3.0 are one."""
    names = _same_numbers(table.numerals(client))
    owner = natural(np.array(names))
    if not owner.any():
        note(f"{table.place}: all rows belong to one client, {names[0]}")
    return owner


def _same_numbers(cells: Sequence[str]) -> list[str]:
    """Write equal numbers alike, whole ones without a point, and true and false."""
    alike = []
    for cell in cells:
        if cell.lower() in ("true", "false"):
            cell = cell.lower()
        value = number(cell)
        if value is not None and abs(value) < _EXACT:
            cell = str(int(value)) if value.is_integer() else repr(value)
        alike.append(cell)
    return alike


def _coded(table: Table, at: int) -> np.ndarray:
    """Number labels in ascending order, of numbers if all are, else alphabetic; int64 [N].

    Raises:
        InstanceError: all are one, or they are quantities and no classes.
    """
    cells = _same_numbers(table.numerals(at))
    values = sorted(set(cells))
    column = table.columns[at]
    if len(values) == 1:
        raise InstanceError(
            f"{table.place}: all labels (column {column!r}) are {values[0]!r}; there is nothing to "
            "learn from"
        )
    numeric = all(number(text) is not None for text in values)
    broken = numeric and any(not float(text).is_integer() for text in values)
    each = len(cells) / len(values)
    numbered = numeric and not broken and sorted(map(float, values)) in (
        list(range(len(values))), list(range(1, len(values) + 1))
    )  # fmt: skip
    few = each < (2 if numbered else ROWS_A_VALUE)
    if len(values) > MOST_VALUES and (broken or few) and numeric:
        raise InstanceError(
            f"{table.place}: the labels (column {column!r}) are {len(values)} different numbers in "
            f"{len(cells)} rows, such as {cells[0]}: quantities, but classes are learned here; "
            "divide them into ranges, or name another column by the setting label_column"
        )
    if len(values) > MOST_CATEGORIES and each < 2:
        raise InstanceError(
            f"{table.place}: the labels (column {column!r}) are {len(values)} different texts in "
            f"{len(cells)} rows; name the column of the classes by the setting label_column"
        )
    folded = {text.casefold() for text in values}
    if len(folded) < len(values):
        note(f"{table.place}: labels that differ only in capitals are different classes: "
             f"{', '.join(map(repr, values))[:100]}")  # fmt: skip
    order = sorted(values, key=(lambda text: (float(text), text)) if numeric else None)
    code = {text: position for position, text in enumerate(order)}
    return np.array([code[text] for text in cells], np.int64)


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
