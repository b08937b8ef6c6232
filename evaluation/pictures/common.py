"""Functions that the families' pictures share: choice of runs and instances, and PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Container, Iterable
from typing import Any, TypeVar

from matplotlib.figure import Figure

from ...core.instance import Instance
from ...core.results import Row

DPI = 100
INK, RULE = "#333c48", "#e6e9ee"  # colors of letters and lines, and of the grid

AnyInstance = TypeVar("AnyInstance", bound=Instance)


def drawable(rows: Iterable[Row], instances: Container[str]) -> list[Row]:
    """Return the rows that can be drawn: their plan is feasible, their instance is available.

    Args:
        rows: rows of results.
        instances: hashes of the available instances.
    """
    return [row for row in rows if row.feasible and row.instance_hash in instances]


def largest_readable(
    instances: Iterable[AnyInstance], size: Callable[[AnyInstance], int], limit: int
) -> AnyInstance:
    """Return the largest instance that a picture can show; if there is none, the smallest.

    Args:
        instances: instances to choose from, at least one.
        size: instance -> its size.
        limit: largest size that is readable.
    """
    by_size = sorted(instances, key=lambda one: (size(one), one.name))
    readable = [one for one in by_size if size(one) <= limit]
    return readable[-1] if readable else by_size[0]


def best_per_contender(rows: Iterable[Row]) -> list[Row]:
    """Return the run with the best objective of each contender, the best contender first.

    Args:
        rows: feasible runs on one instance.
    """
    best: dict[str, Row] = {}
    for row in rows:
        held = best.setdefault(row.contender, row)
        if row.sign * row.objective < held.sign * held.objective:
            best[row.contender] = row
    return sorted(best.values(), key=lambda row: row.sign * row.objective)


def plain(axes: Any) -> None:
    """Give axes a light grid and no frame at the top and on the right."""
    axes.grid(color=RULE)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def png(figure: Figure) -> bytes:
    """Render a figure to the bytes of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
