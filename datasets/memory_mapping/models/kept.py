"""Keep imported programs in the user's cache folder, so that a network is imported once.

A program is kept under a digest of all it depends on: its recipe, its capacity, this folder's
and the importers' source text, the hardware profiles, and the versions of the libraries. Whatever
of that changes, the program is imported again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.errors import InstanceError, OutputError
from ..hardware import TABLE
from ..instance import Program

if TYPE_CHECKING:
    from .recipes import Recipe

LIBRARIES = ("jax", "torch")


def folder() -> Path:
    """Return the folder of kept programs: sysopt-gym/programs in XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "sysopt-gym", "programs")


def kept(recipe: Recipe, capacity: str, name: str, make: Callable[[], Program]) -> Program:
    """Return a recipe's program from the folder; make and keep it where it is not there.

    Args:
        recipe: the recipe.
        capacity: size of fast memory, as in `sizes.read_capacity`.
        name: name of the program.
        make: () -> the program.
    """
    path = folder() / f"{key_of(recipe, capacity)}.npz"
    if path.is_file():
        with contextlib.suppress(InstanceError):  # damaged: made again
            return dataclasses.replace(Program.load(path), name=name)
    program = make()
    with contextlib.suppress(OutputError):  # a folder that cannot be written keeps nothing
        program.save(path)
    return program


def key_of(recipe: Recipe, capacity: str) -> str:
    """Return a digest of what a recipe's program depends on, 16 hex digits.

    Args:
        recipe: the recipe.
        capacity: size of fast memory, as in `sizes.read_capacity`.
    """
    text = json.dumps([dataclasses.asdict(recipe), capacity, _surroundings()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _surroundings() -> dict[str, str]:
    """Return versions of the libraries, and a digest of the source text and hardware profiles."""
    digest = hashlib.sha256(TABLE.read_bytes())
    here = Path(__file__).parent
    for path in sorted([*here.parent.glob("*.py"), *here.glob("*.py")]):
        digest.update(path.read_bytes())
    found = {"source": digest.hexdigest()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = ""
    return found
