"""Find the instances that a user names: sets, members of sets, files, archives and folders."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import InstanceError, UnknownNameError
from .files import files_in, kind_of, user_path
from .instance import holds_instances, load_archive
from .lookup import check_name
from .problem import Problem
from .registry import read_file


def find_instances(problem: Problem[Any], argument: str, settings: Mapping[str, str]) -> list[Any]:
    """Load the instances that an argument names, with settings applied.

    A .zip of this library may hold a whole set; any other file holds one instance.

    Args:
        problem: the family.
        argument: a set ("NAME:split"), one instance of a set ("NAME:split/3"), or a file.
        settings: texts by the names in the family's settings. A file is read with them, so that
            they replace defaults that would refuse it.

    Raises:
        UnknownNameError: neither a set nor a file, or an unknown setting.
        InstanceError: the file or the set's data is missing or malformed.
        SettingError: a setting cannot be used.
    """
    if argument.partition("/")[0] in problem.sets:
        found = list(problem.sets.load(argument))
        return [apply_settings(problem, one, settings) for one in found]
    path = user_path(argument)
    kind = kind_of(path)
    if kind == "nothing":
        raise _neither(problem, argument, path)
    if kind == "folder" and not problem.reads_folders:
        raise InstanceError(f"{argument}: is a folder; give one of the files in it")
    if kind == "folder" or not holds_instances(path):
        check_settings(problem, settings)
        return [read_file(problem, path, settings)]
    found = load_archive(problem.instance_type, path)
    return [apply_settings(problem, one, settings) for one in found]


def _neither(problem: Problem[Any], argument: str, path: Path) -> UnknownNameError:
    near = difflib.get_close_matches(argument.partition("/")[0], problem.sets, n=1)
    nearby = files_in(path.parent) if kind_of(path.parent) == "folder" else []
    near_file = difflib.get_close_matches(path.name, [one.name for one in nearby], n=1)
    hints = [f"the set {name!r}" for name in near]
    hints += [f"the file {str(path.parent / name)!r}" for name in near_file if name != path.name]
    did_you_mean = f"did you mean {' or '.join(hints)}? " if hints else ""
    return UnknownNameError(
        f"{argument!r} is neither a {problem.family} instance set nor a file; {did_you_mean}"
        f"sets: {', '.join(problem.sets)}"
    )


def apply_settings(problem: Problem[Any], instance: Any, values: Mapping[str, str]) -> Any:
    """Return an instance with settings replaced, after checking their names.

    Args:
        problem: the family.
        instance: any instance of the family.
        values: texts by the names in the family's settings.

    Raises:
        UnknownNameError: an unknown setting.
        SettingError: a value cannot be used.
    """
    check_settings(problem, values)
    return problem.apply_settings(instance, values) if values else instance


def check_settings(problem: Problem[Any], keys: Iterable[str]) -> None:
    """Refuse unknown names of settings.

    Args:
        problem: the family.
        keys: names of settings.

    Raises:
        UnknownNameError: an unknown name; the message suggests the nearest one.
    """
    for key in keys:
        check_name(key, problem.settings, f"{problem.family} setting")
