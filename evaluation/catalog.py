"""Convert what a user types (families, sets or files, contenders, settings) into objects."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.budget import Budget
from ..core.errors import InstanceError, OutputError, SettingError, UnknownNameError
from ..core.files import kind_of, user_path
from ..core.instance import save_archive
from ..core.lookup import check_name
from ..core.problem import Problem
from ..core.registry import contender_entry, family_names, load_problem
from ..core.sources import apply_settings, find_instances

MAX_SEEDS = 1000


def parse_settings(pairs: Sequence[str], allowed: Mapping[str, Any], what: str) -> dict[str, str]:
    """Parse "key=value" texts.

    Args:
        pairs: the texts.
        allowed: known keys.
        what: what a key is, in the error message.

    Returns:
        Key -> value.

    Raises:
        SettingError: a text has no "=", or a key occurs twice.
        UnknownNameError: an unknown key; the message suggests the nearest one.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SettingError(
                f"--set {pair}: write key=value, e.g. {next(iter(allowed), 'key')}=..."
            )
        check_name(key, allowed, what)
        if key in values:
            raise SettingError(
                f"--set {key}: given twice ({values[key]!r} and {value!r}); keep one"
            )
        values[key] = value
    return values


def check_families(names: Sequence[str]) -> list[str]:
    """Return the named families without repeats; all families if none is named.

    Raises:
        UnknownNameError: no such family.
    """
    checked = [check_name(name, family_names(), "family") for name in names]
    return list(dict.fromkeys(checked)) or family_names()


def choose_contenders(
    problem: Problem[Any], names: Sequence[str], baseline: str | None
) -> list[str]:
    """Return the names of a comparison's contenders, without repeats.

    They are those named (or the family's default), those in every table, and the baseline.

    Args:
        problem: the family.
        names: names the user gave; empty for the family's default.
        baseline: contender that the others are compared with; None for the family's.

    Raises:
        UnknownNameError: no such contender.
    """
    standard = problem.defaults
    wanted = [*(names or standard.contenders), *standard.always, baseline or standard.baseline]
    for name in wanted:
        contender_entry(problem.family, name)
    return list(dict.fromkeys(wanted))


def check_budget(seconds: float) -> Budget:
    """Return a budget of wall-clock seconds.

    Raises:
        SettingError: not a positive finite number.
    """
    if not math.isfinite(seconds) or seconds <= 0:
        raise SettingError(
            f"--budget {seconds:g}: give a positive number of seconds, e.g. --budget 2"
        )
    return Budget(seconds)


def check_seeds(count: int) -> range:
    """Return the seeds 0..count-1.

    Raises:
        SettingError: the count is not between 1 and MAX_SEEDS.
    """
    if not 1 <= count <= MAX_SEEDS:
        raise SettingError(f"--seeds {count}: give a number of runs between 1 and {MAX_SEEDS}")
    return range(count)


def check_seed(seed: int) -> int:
    """Return a seed if it is not negative.

    Raises:
        SettingError: it is negative.
    """
    if seed < 0:
        raise SettingError(f"--seed {seed}: give a whole number of at least 0")
    return seed


def check_nonce(text: str | None) -> str | None:
    """Return a nonce if it can be written in a command and in a file.

    Raises:
        SettingError: it cannot.
    """
    if text is not None and not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", text):
        raise SettingError(
            f"--nonce {text!r}: give up to 64 letters, digits, '-' and '_', or leave it out"
        )
    return text


def load(
    family: str, argument: str, pairs: Sequence[str]
) -> tuple[Problem[Any], list[Any], dict[str, str]]:
    """Import a family's Problem and load the instances that an argument names.

    Args:
        family: name of the family.
        argument: a set, one instance of a set, or a file; see `find_instances`.
        pairs: "key=value" texts of settings.

    Returns:
        The family's Problem, the instances with settings applied, and the settings.

    Raises:
        SysOptError: see `find_instances` and `parse_settings`.
    """
    problem = load_problem(family)
    settings = parse_settings(pairs, problem.settings, f"{family} setting")
    return problem, find_instances(problem, argument, settings), settings


def reader_of(
    problems: Sequence[Problem[Any]], argument: str, pairs: Sequence[str]
) -> Problem[Any]:
    """Return the one family that can read a file.

    Args:
        problems: the families to try.
        argument: the file.
        pairs: "key=value" texts of settings; each family is tried with those that it knows.

    Raises:
        UnknownNameError: there is no such file.
        SettingError: several families can read it, or none.
    """

    def reads(problem: Problem[Any]) -> bool:
        own = [pair for pair in pairs if pair.partition("=")[0] in problem.settings]
        try:
            find_instances(problem, argument, parse_settings(own, problem.settings, "setting"))
        except InstanceError:
            return False
        return True

    if kind_of(user_path(argument)) == "nothing":
        raise UnknownNameError(
            f"{argument!r} is neither an instance set of {', '.join(p.family for p in problems)} "
            "nor a file; `sysopt-gym list instances` names the sets"
        )
    readers = [problem for problem in problems if reads(problem)]
    if len(readers) != 1:
        raise SettingError(
            f"{argument}: {'several families read' if readers else 'no family reads'} this file; "
            "name the family it is for, e.g. `sysopt-gym compare FAMILY --instances FILE`"
        )
    return readers[0]


def import_file(
    family: str | None, path: Path, pairs: Sequence[str]
) -> tuple[Problem[Any], list[Any]]:
    """Load the instances in a user's file, with settings applied.

    Args:
        family: name of the family; None for the one that can read the file.
        path: the file.
        pairs: "key=value" texts of settings.

    Returns:
        The family's Problem and the instances.

    Raises:
        InstanceError: no such file, or malformed.
        SysOptError: see `load` and `reader_of`.
    """
    if kind_of(path) == "nothing":
        raise InstanceError(f"{path}: no such file; give the file to import")
    if family is None:
        problems = [load_problem(name) for name in family_names()]
        family = reader_of(problems, str(path), pairs).family
    problem, instances, _ = load(family, str(path), pairs)
    return problem, instances


def generate(problem: Problem[Any], count: int, seed: int, pairs: Sequence[str]) -> list[Any]:
    """Generate instances.

    Args:
        problem: the family.
        count: number of instances.
        seed: seed of the first instance; each further one has the next seed.
        pairs: "key=value" texts of the generator's parameters and the instances' settings.

    Raises:
        SettingError: a count below 1, or a value that cannot be used.
        UnknownNameError: an unknown parameter.
    """
    if count < 1:
        raise SettingError(f"--count {count}: give at least 1")
    allowed = dict(problem.generator_parameters) | dict(problem.settings)
    values = parse_settings(pairs, allowed, f"{problem.family} parameter")
    parameters = {k: v for k, v in values.items() if k in problem.generator_parameters}
    settings = {k: v for k, v in values.items() if k not in parameters}
    first = check_seed(seed)
    return [
        apply_settings(problem, problem.generate(parameters, first + index), settings)
        for index in range(count)
    ]


def save(instances: Sequence[Any], path: Path) -> None:
    """Write instances to a .zip set, or one instance to a .npz.

    Args:
        instances: instances of one family.
        path: the file.

    Raises:
        OutputError: another suffix, several instances for one .npz, or the file cannot be written.
    """
    if path.suffix != ".zip" and (path.suffix != ".npz" or len(instances) != 1):
        many = " (several instances need .zip)" if path.suffix == ".npz" else ""
        raise OutputError(f"--out {path}: end the name in .zip, or .npz for one instance{many}")
    save_archive(instances, path)


def parse_overrides(pairs: Sequence[str]) -> dict[str, str]:
    """Parse "key=value" texts for a configuration, whose reader checks the keys.

    Returns:
        Key -> value.

    Raises:
        SettingError: a text has no "=".
    """
    for pair in pairs:
        if "=" not in pair:
            raise SettingError(f"{pair!r}: write key=value, e.g. seed=3")
    return dict((pair.partition("=")[0], pair.partition("=")[2]) for pair in pairs)
