"""What the families' instance sets have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ..core.errors import UnknownNameError
from ..core.registry import check_name

One = TypeVar("One")


def data_folder() -> Path:
    """Where the public files are looked for: SYSOPT_DATA, else ~/.cache/sysopt-gym."""
    return Path(os.environ.get("SYSOPT_DATA") or Path.home() / ".cache" / "sysopt-gym")


def members(
    name: str, sets: Iterable[str], what: str, load: Callable[[str], Sequence[One]]
) -> list[One]:
    """The instances of a set; "SET/3" is a list of its instance 3 alone.

    Args:
        name: of the set, or of one in it.
        sets: all names.
        what: a set is called, in messages.
        load: a set's name -> its instances.

    Raises:
        UnknownNameError: no such set, or no such instance in it.
    """
    base, slash, index = name.partition("/")
    instances = list(load(check_name(base, sets, what)))
    if not slash:
        return instances
    if not index.isdecimal() or int(index) >= len(instances):
        raise UnknownNameError(
            f"{base} has no instance {index!r}; it holds {base}/0 to {base}/{len(instances) - 1}"
        )
    return [instances[int(index)]]
