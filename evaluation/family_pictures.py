"""The instances that a report may show, and the families' own pictures of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..core.contracts import Picture
from ..core.lookup import resolve
from .cells import Folder
from .table import Scored

# Instances that pictures choose from: so many at any size, or more in so much memory.
SURELY_DRAWN, MOST_DRAWN, MOST_DRAWN_BYTES = 30, 200, 64 * 2**20
TROUBLE = "The family's own pictures could not be drawn"


def family_pictures(
    rows: Sequence[Scored],
    instances: Mapping[str, Any],
    color: Mapping[str, str],
    places: Sequence[str],
) -> tuple[list[Picture], list[str]]:
    """Draw the family's own pictures; an error in one of them must not lose the report.

    Args:
        rows: rows of the family.
        instances: hash -> instance, of those that may be shown.
        color: contender -> color.
        places: places of the functions that draw; see `Problem.pictures`.

    Returns:
        The pictures, and a sentence for each function that failed.
    """
    from .plots import load_pyplot

    load_pyplot()  # which takes names as they are
    drawn: list[Picture] = []
    notes: list[str] = []
    shown = [row for row in rows if row.instance_hash in instances]
    for place in places if shown else ():
        try:
            drawn += resolve(place)(shown, instances, color)
        except Exception as error:
            notes.append(f"{TROUBLE}: {error}.")
    count = len({row.instance_hash for row in rows})
    if drawn and len(instances) < count:
        notes.append(
            f"The family's pictures are of the {len(instances):,} smallest of {count:,} instances."
        )
    return drawn, notes


def shown_instances(folder: Folder, rows: Sequence[Scored]) -> tuple[dict[str, Any], list[str]]:
    """Load the instances that may be shown: the smallest, which are the readable ones.

    Each is loaded once. Those without a feasible plan, which cannot be shown, come last.

    Args:
        folder: folder with the rows' instances.
        rows: rows of one family.

    Returns:
        Hash -> instance, in the order of the rows, and a sentence if they cannot be loaded.
    """
    first = {row.instance_hash: row for row in reversed(rows)}
    planned = {row.instance_hash for row in rows if row.feasible}
    order = dict.fromkeys(row.instance_hash for row in rows)
    wanted = sorted(order, key=lambda key: (key not in planned, folder.instance_size(first[key])))
    loaded: dict[str, Any] = {}
    free = MOST_DRAWN_BYTES
    for key in wanted[:MOST_DRAWN]:
        if len(loaded) >= SURELY_DRAWN and free < 0:
            break
        try:
            loaded[key] = _called(folder.instance(first[key]), first[key].instance)
        except Exception as error:
            return {}, [f"{TROUBLE}: {error}."]
        free -= _size(loaded[key])
    return {key: loaded[key] for key in order if key in loaded}, []


def _size(instance: Any) -> int:
    """Return about how many bytes an instance takes: its arrays and its names."""
    size = 0
    for each in fields(instance):
        value = getattr(instance, each.name)
        size += value.nbytes if isinstance(value, np.ndarray) else 0
        size += sum(map(sys.getsizeof, value)) if isinstance(value, tuple) else 0
    return size


def _called(instance: Any, name: str) -> Any:
    """Return an instance under another name, unless it has it."""
    return instance if instance.name == name else replace(instance, name=name)
