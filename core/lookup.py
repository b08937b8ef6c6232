"""Look up names, and objects by where they are: "package.module:attribute", "file.py:attribute"."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import RegistryError, UnknownNameError
from .extras import missing
from .user_code import SUFFIX, import_file

# What earlier versions called a contender or a policy -> what plays under another name now.
RENAMED = {"muzero": ("alphazero", "alphazero_policy")}
PACKAGE = (__package__ or "").rpartition(".")[0]


def check_name(name: str, names: Iterable[str], what: str) -> str:
    """Return a name if it is known.

    Args:
        name: the name to check.
        names: all known names.
        what: what the names stand for, in the error message.

    Raises:
        UnknownNameError: the name is unknown; the message suggests the nearest one and lists all.
    """
    names = list(names)
    if name in names:
        return name
    raise UnknownNameError(
        f"unknown {what} {name!r}; {hint_at(name, names)}known: {', '.join(names)}"
    )


def hint_at(name: str, names: Iterable[str]) -> str:
    """Return "did you mean ...? " for an unknown name, or nothing where no known one is near.

    Args:
        name: the unknown name.
        names: all known names.
    """
    names = list(names)
    now = [new for new in RENAMED.get(name, ()) if new in names]
    near = now or difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def resolve(place: str) -> Any:
    """Import the object behind "module:attribute" or "FILE.py:attribute".

    Args:
        place: where it is; a leading dot stands for this package.

    Raises:
        MissingDependencyError: the module needs a package that is not installed.
        RegistryError: the module has no such attribute, or the file cannot be imported.
    """
    module, _, attribute = place.rpartition(":")
    try:
        if module.endswith(SUFFIX):
            found: Any = import_file(Path(module))
        else:
            found = importlib.import_module(module, PACKAGE)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith(PACKAGE):
            raise
        room = module.removeprefix(PACKAGE).strip(".").partition(".")[0]
        raise missing(error, place, room) from error
    if not hasattr(found, attribute):
        raise RegistryError(f"{place}: the module has no {attribute!r}; correct the entry")
    return getattr(found, attribute)


def check_place(place: str) -> None:
    """Refuse a place that cannot be imported, as far as can be known without importing it.

    Args:
        place: "package.module:attribute".

    Raises:
        RegistryError: the text is no such place, or a module or attribute is missing.
    """
    module, _, attribute = place.partition(":")
    if not module or module.startswith(".") or not attribute:
        raise RegistryError(f"{place!r} is no place; write package.module:attribute")
    check_module(module, place)
    if module in sys.modules and not hasattr(sys.modules[module], attribute):
        raise RegistryError(f"{place}: the module has no {attribute!r}; correct the name")


def check_module(module: str, place: str) -> None:
    """Refuse a module that cannot be found.

    Args:
        module: its dotted name.
        place: what the error message calls it.

    Raises:
        RegistryError: it cannot be found.
    """
    try:
        there = find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        raise RegistryError(
            f"{place}: no module {module!r} can be imported; install its package, or put its "
            "folder on the search path"
        )
