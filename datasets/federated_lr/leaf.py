"""Read LEAF's JSON (Caldas et al. 2018), whose users are clients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import InstanceError
from ..records import Record, parse_json
from .instance import LARGEST, MOST_CLASSES, Federation
from .partition import federation_of, natural
from .text import rows_of_samples

WIDTH = 32
FEMNIST = 28  # height and width of FEMNIST's images, which LEAF stores as one list of pixels


def leaf_federation(place: str, name: str, text: str) -> Federation:
    """Read the federation in a LEAF file; rows of numbers are classified, texts are continued.

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
    if isinstance(x[0], str):
        return _texts(place, name, users, x, y)
    return _numbers(place, name, users, x, y)


def _samples(document: Record) -> tuple[list[str], list[Any], list[Any]]:
    """Return the user, x and y of each row, in the order of the users."""
    data = document.get("user_data")
    users: list[str] = []
    x: list[Any] = []
    y: list[Any] = []
    for entry in document.get("users").items():
        user = entry.text()
        own = data.need(user).get(user).need("x", "y").value
        if not all(isinstance(own[key], list) for key in "xy"):
            data.get(user).refuse("x and y are not lists")
        if len(own["x"]) != len(own["y"]) or not own["x"]:
            data.get(user).refuse(
                f"has {len(own['x'])} x and {len(own['y'])} y; give as many of each, at least one, "
                "or leave the user out"
            )
        users += [user] * len(own["x"])
        x += own["x"]
        y += own["y"]
    return users, x, y


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
    labels = np.array(y).astype(np.int64)
    return federation_of(name, inputs, labels, owner=natural(np.array(users)))


def _complaint(values: Any, label: Any, features: int) -> str:
    """Return what is wrong with a row; empty if nothing is."""
    if not isinstance(values, list) or len(values) != features or not features:
        return f"x is no list of {max(features, 1)} numbers"
    if not all(isinstance(value, int | float) and abs(value) <= LARGEST for value in values):
        return "x holds something that is no finite number; mend it or drop the row"
    whole = isinstance(label, int | float) and 0 <= label < MOST_CLASSES and label == int(label)
    if isinstance(label, bool) or not whole:
        return f"y is {label!r}; give a whole number from 0 to {MOST_CLASSES - 1}"
    return ""
