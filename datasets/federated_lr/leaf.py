"""Read LEAF's JSON (Caldas et al. 2018), whose users are clients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..numerals import number
from ..records import Record, parse_json
from .instance import LARGEST, MOST_CLASSES, Federation
from .partition import federation_of, natural
from .text import rows_of_samples

WIDTH = 32
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
FEMNIST = 28  # height and width of FEMNIST's images, which LEAF stores as one list of pixels


def leaf_federation(place: str, name: str, text: str) -> Federation:
    """Read the federation in a LEAF file; rows of numbers are classified, texts are continued.

    Users without rows are left out, which is said. The data sets of LEAF that are neither (Sent140,
    CelebA, Reddit) are refused by name.

    Args:
        place: the file, for error messages.
        name: name of the federation.
        text: JSON of `users` and `user_data`, which holds for each user the lists x and y.

    Raises:
        InstanceError: the text is malformed; names the user and the row.
    """
    content = parse_json(place, text, finite=False).need("users", "user_data")
    users, x, y = _samples(content)
    if not x:
        raise InstanceError(f"{place}: no user has any rows")
    why = _unsupported(x[0], y[0])
    if why:
        raise InstanceError(f"{place}, user {users[0]}, row 0: {why}")
    if isinstance(x[0], str):
        return _texts(place, name, users, x, y)
    return _numbers(place, name, users, x, y)


def _unsupported(x: Any, y: Any) -> str:
    """Return why a sample is of a LEAF data set that cannot be read; empty if it can."""
    if isinstance(x, str) and x.lower().endswith(PICTURES):
        return (
            f"x is {x!r}, the name of an image, as in LEAF's CelebA: the file holds no pixels; "
            "give each row the image's pixels as a list of numbers"
        )
    if isinstance(x, str) and not isinstance(y, str):
        return (
            "x is a text and y a class, as in LEAF's Sent140: no model here classifies texts; give "
            "rows of numbers, such as counts of words or embeddings"
        )
    if isinstance(y, dict) or (isinstance(x, list) and x and isinstance(x[0], list | dict)):
        return (
            "x holds lists, such as the words of LEAF's Reddit: no model here predicts words; give "
            "texts with the character that follows, as in its Shakespeare, or rows of numbers"
        )
    if isinstance(x, list) and any(isinstance(value, str) for value in x):
        return (
            "x holds texts, such as the tweets of LEAF's Sent140: no model here classifies texts; "
            "give rows of numbers, such as counts of words or embeddings"
        )
    return ""


def _samples(document: Record) -> tuple[list[str], list[Any], list[Any]]:
    """Return the user, x and y of each row, in the order of the users."""
    data = document.get("user_data")
    users: list[str] = []
    x: list[Any] = []
    y: list[Any] = []
    counts: dict[str, int] = {}
    for entry in document.get("users").items():
        user = entry.text()
        own = data.need(user).get(user).need("x", "y").value
        if not all(isinstance(own[key], list) for key in "xy"):
            data.get(user).refuse("x and y are not lists")
        if len(own["x"]) != len(own["y"]):
            data.get(user).refuse(
                f"has {len(own['x'])} x and {len(own['y'])} y; give as many of each"
            )
        if user in counts:
            entry.refuse(f"{user!r} is named twice; name it once")
        counts[user] = len(own["x"])
        users += [user] * len(own["x"])
        x += own["x"]
        y += own["y"]
    _say_users(document, counts)
    return users, x, y


def _say_users(document: Record, counts: dict[str, int]) -> None:
    """Say which users are left out, and whether the file's own counts are wrong.

    Args:
        document: the whole file.
        counts: rows of each user in `users`.
    """
    empty = [user for user, count in counts.items() if not count]
    if 0 < len(empty) < len(counts):
        note(
            f"{document.file}: {len(empty)} of {len(counts)} users have no rows (the first is "
            f"{empty[0]!r}); left out"
        )
    unlisted = sorted(document.get("user_data").value.keys() - counts.keys())
    if unlisted:
        note(
            f"{document.file}: {len(unlisted)} users of user_data are not in users (the first is "
            f"{unlisted[0]!r}); left out"
        )
    told = document.get("num_samples").value if document.has("num_samples") else None
    if told is not None and told != list(counts.values()):
        note(f"{document.file}: num_samples differs from how many rows the users have; not read")


def _texts(place: str, name: str, users: list[str], x: list[Any], y: list[Any]) -> Federation:
    for row, (before, after) in enumerate(zip(x, y, strict=True)):
        if not isinstance(before, str) or not isinstance(after, str):
            raise InstanceError(f"{place}, user {users[row]}: x and y are not texts throughout")
    rows = rows_of_samples(place, users, x, y)
    return federation_of(
        name, rows.inputs, rows.labels,
        owner=rows.owner, classes=rows.letters, model="gru", width=WIDTH,
    )  # fmt: skip


def _numbers(place: str, name: str, users: list[str], x: list[Any], y: list[Any]) -> Federation:
    features = len(x[0]) if isinstance(x[0], list) else 0
    for row, (values, label) in enumerate(zip(x, y, strict=True)):
        why = _complaint(values, label, features)
        if why:
            user = users[row]
            raise InstanceError(f"{place}, user {user}, row {row - users.index(user)}: {why}")
    inputs = np.array(x, np.float32)
    if features == FEMNIST**2:
        inputs = inputs.reshape(-1, 1, FEMNIST, FEMNIST)
    labels = np.array(y).astype(np.float64).astype(np.int64)  # some files quote them
    return federation_of(name, inputs, labels, owner=natural(np.array(users)))


def _complaint(values: Any, label: Any, features: int) -> str:
    """Return what is wrong with a row; empty if nothing is."""
    if not isinstance(values, list) or len(values) != features or not features:
        return f"x is no list of {max(features, 1)} numbers"
    if not all(isinstance(value, int | float) and abs(value) <= LARGEST for value in values):
        return "x holds something that is no finite number; mend it or drop the row"
    value = number(label.strip()) if isinstance(label, str) else label
    whole = isinstance(value, int | float) and 0 <= value < MOST_CLASSES and value == int(value)
    if isinstance(label, bool) or not whole:
        return f"y is {label!r}; give a whole number from 0 to {MOST_CLASSES - 1}"
    return ""
