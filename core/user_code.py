"""Import a user's Python file, such as one with a solver, and say clearly what is wrong with it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from .errors import InstanceError, MissingDependencyError, RegistryError
from .files import kind_of, read_bytes

SUFFIX = ".py"


def file_hash(path: Path) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of a file.

    Args:
        path: the file.

    Raises:
        RegistryError: it cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()[:12]


def import_file(path: Path) -> ModuleType:
    """Import a Python file under a name of its own, its folder on the search path meanwhile.

    A file that has changed since it was imported is imported again.

    Args:
        path: the file.

    Raises:
        RegistryError: it cannot be read, is no Python, or raises an exception; the message names
            the line.
        MissingDependencyError: it imports a package that is not installed.
    """
    content = _content(path)
    path = path.resolve()
    digest = hashlib.sha256(os.fsencode(path) + b"\0" + content).hexdigest()[:12]
    name = f"sysopt_gym_file_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # of any .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it is run: dataclasses look their module up
    try:
        with _beside(path.parent):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _explained(path, error) from error
    return module


def _content(path: Path) -> bytes:
    try:
        if kind_of(path) == "nothing":
            raise RegistryError(f"{path}: no such file; give the file that holds it")
        return read_bytes(path)
    except InstanceError as error:
        raise RegistryError(str(error)) from error


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Put a folder first on the search path, and forget afterwards what was imported from it.

    Another file's neighbor of the same name is then another module. Python keeps nothing that it
    compiles meanwhile: it would take a file that has changed within a second, and not in length,
    for the one that it was.
    """
    before, writes_none = set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_none
        sys.path.remove(str(folder))
        top = {name for name in set(sys.modules) - before if _lies_in(folder, name)}
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in top:
                del sys.modules[name]


def _lies_in(folder: Path, name: str) -> bool:
    """Whether a module is a file of the folder, or a package in it, that has no fixed name."""
    origin = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
    if "." in name or name.startswith("sysopt_gym_file_") or origin is None:
        return False
    parents = Path(origin).resolve().parents
    return folder in parents[:2]


def _explained(path: Path, error: BaseException) -> Exception:
    """Return the error to raise for what happened while a file was imported."""
    if isinstance(error, SyntaxError):
        where = error.filename or str(path)
        return RegistryError(f"{where}, line {error.lineno}: {error.msg}; correct the file")
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    if isinstance(error, ModuleNotFoundError):
        return MissingDependencyError(
            f"{where}: no module {error.name!r} can be imported; install its package, or put the "
            "module beside the file"
        )
    if isinstance(error, SystemExit):
        return RegistryError(
            f"{where}: the file ends the program when it is imported; put what it runs under "
            'if __name__ == "__main__"'
        )
    return RegistryError(f"{where}: {type(error).__name__}: {error}; correct the file")
