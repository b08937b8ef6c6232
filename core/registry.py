"""Registry of families and contenders: where each is found; nothing is imported before its use.

A family of this package is listed in FAMILIES; its package in `envs` declares its environments, and
its packages in `agents` and `solvers` hold the tables of its contenders. Another package adds its
own by Python entry points, which the command line and the worker processes read too:

    [project.entry-points."sysopt_gym.families"]
    knapsack = "my_package:FAMILY"              # a Family, under its name

    [project.entry-points."sysopt_gym.contenders"]
    vm_rescheduling = "my_package.tables"       # tables for that family: SOLVERS, AGENTS, ORACLES,
                                                # FORMATS, PICTURES

`register_family`, `register`, `register_format` and `register_pictures` do the same for the running
program and the workers it starts. See docs/extending.md.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import metadata
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, get_args

import gymnasium

from .contracts import Contender, Form, Role
from .entries import Entry as Entry
from .entries import Family as Family
from .entries import Tables as Tables
from .entries import digest_of
from .errors import CheckpointError, InstanceError, RegistryError, SettingError
from .lookup import PACKAGE, check_module, check_name, check_place, resolve
from .problem import Problem

FAMILIES = (
    "vm_rescheduling",
    "memory_mapping",
    "sequence_design",
    "federated_lr",
    "vm_allocation",
    "sequence_parallelism",
)
# Benchmarks that belong to no family: name -> lazy entry point.
BENCHMARKS = {
    "muzero_search": ".benchmarks.muzero_search:measure",
    "packing": ".benchmarks.packing:measure",
    "vector_envs": ".benchmarks.vector_envs:measure",
}
# The tables of contenders that a module may hold, in the order of lists and reports.
TABLES: Mapping[Role, str] = {"agent": "AGENTS", "solver": "SOLVERS", "oracle": "ORACLES"}
FAMILY_GROUP, CONTENDER_GROUP = "sysopt_gym.families", "sysopt_gym.contenders"


_tables: Tables | None = None


def tables() -> Tables:
    """Return the registry; the first call reads this package's tables and the entry points."""
    global _tables
    if _tables is None:
        _tables = Tables()
        for name in FAMILIES:
            rooms = (f"{PACKAGE}.agents.{name}", f"{PACKAGE}.solvers.{name}")
            _add_family(name, replace(own_family(name), contenders=rooms))
        _read_entry_points()
    return _tables


def adopt(given: Tables) -> None:
    """Install another process's registry in this one, and register its environments.

    Args:
        given: what `tables` returned in the other process.
    """
    global _tables
    _tables = given
    for family in given.families.values():
        add_environment(family)


def own_family(name: str) -> Family:
    """Return the Family that this package declares in `envs`.

    Args:
        name: one of FAMILIES.
    """
    family: Family = resolve(f".envs.{name}:FAMILY")
    return family


def add_environment(family: Family) -> None:
    """Register a family's environment with Gymnasium, unless it is registered already.

    Args:
        family: names the environment's id and classes.
    """
    if family.env_id not in gymnasium.registry:
        gymnasium.register(family.env_id, family.env, vector_entry_point=family.vector_env)


def family_names() -> list[str]:
    """Return the names of all families, those of this package first."""
    return list(tables().families)


def load_problem(family: str) -> Problem[Any]:
    """Import a family's Problem.

    Args:
        family: name of the family.

    Raises:
        UnknownNameError: no such family.
    """
    families = tables().families
    problem: Problem[Any] = resolve(families[check_name(family, families, "family")].problem)
    return problem


def contender_names(family: str, role: Role | None = None, form: Form | None = None) -> list[str]:
    """Return the names of a family's contenders: agents, then solvers, then oracles.

    Args:
        family: name of the family; an unknown one has no contenders.
        role: return only contenders of this role; None for all.
        form: return only contenders of this form; None for both.
    """
    entries = tables().contenders.get(family, {})
    return [
        name
        for wanted in TABLES
        for name, entry in entries.items()
        if entry.role == wanted and role in (None, wanted) and form in (None, entry.form)
    ]


def is_contender(family: str, name: str) -> bool:
    """Whether a family has a contender of this name, registered or given by the user.

    Args:
        family: name of the family.
        name: the contender's name.
    """
    return name in tables().given.get(family, {}) or name in contender_names(family)


def contender_entry(family: str, name: str) -> Entry:
    """Look a contender up without importing it.

    Args:
        family: name of its family.
        name: its own name.

    Raises:
        UnknownNameError: no such contender.
    """
    given = tables().given.get(family, {})
    if name in given:
        return given[name]
    check_name(name, contender_names(family), f"{family} contender")
    return tables().contenders[family][name]


def load_contender(family: str, name: str) -> Contender:
    """Import a contender.

    Args:
        family: name of its family.
        name: its own name.

    Raises:
        UnknownNameError: no such contender.
        MissingDependencyError: it needs a package that is not installed.
        CheckpointError: its policy is damaged, or has changed since the user named it.
        RegistryError: its file has changed since, or cannot be imported.
    """
    entry = contender_entry(family, name)
    found = resolve(entry.place)
    if entry.digest and digest_of(entry) != entry.digest:
        kind = CheckpointError if entry.policy else RegistryError
        raise kind(
            f"{entry.policy or entry.place}: has changed since {name!r} began to play; run the "
            "command again"
        )
    if entry.policy:
        found = partial(found, policy=Path(entry.policy))
    return Contender(family, name, entry.role, entry.form, found)


def give(family: str, name: str, entry: Entry) -> None:
    """Let a user's policy, function or file play under a name, in this process and its workers.

    It takes the place of what was given under this name before. `contender_arguments` chooses
    names that no registered contender has.

    Args:
        family: name of a registered family.
        name: name of the contender in tables.
        entry: where it is.
    """
    tables().given.setdefault(family, {})[name] = entry


def register_family(name: str, family: Family) -> None:
    """Add a family of another package, with its contenders, for this process and its workers.

    Its Problem is imported at once; its environment and its contenders when they are used.

    Args:
        name: name of the family in the registry.
        family: where its parts are.

    Raises:
        RegistryError: the name or the environment id is taken, a module or an attribute is missing,
            or `family.problem` is not a Problem of this name and id.
    """
    there = tables().families.get(name)
    if there == family:
        return
    if there is not None:
        raise RegistryError(f"family {name!r} is taken by {there.problem}; choose another name")
    for module in family.contenders:
        check_module(module, module)
    for place in (family.problem, family.env, family.vector_env or family.env):
        check_place(place)
    same_id = gymnasium.registry.get(family.env_id)
    if same_id is not None and same_id.entry_point != family.env:
        raise RegistryError(
            f"environment id {family.env_id!r} is taken by {same_id.entry_point}; choose another id"
        )
    problem = resolve(family.problem)
    ours = name, family.env_id
    if not isinstance(problem, Problem) or (problem.family, problem.env_id) != ours:
        raise RegistryError(
            f"{family.problem} is no Problem of family {name!r} with env_id {family.env_id!r}; "
            "give both the same name and id"
        )
    with _all_or_nothing():
        _add_family(name, family)


def register(
    role: Role,
    family: str,
    name: str,
    place: str,
    form: Form = "planner",
    takes: str = "",
    about: str = "",
) -> None:
    """Add a contender of another package, for this process and its workers.

    Args:
        role: "agent", "solver" or "oracle".
        family: name of a registered family.
        name: name of the contender in the registry.
        place: "package.module:attribute"; imported when the contender is used.
        form: "planner" or "player"; see Contender.
        takes: class of the networks whose policies it can be given; see Entry.
        about: one line on what it is; see Entry.

    Raises:
        UnknownNameError: an unknown role, form or family.
        RegistryError: the name is taken, or a module or attribute is missing.
    """
    check_name(role, TABLES, "role")
    check_name(form, get_args(Form), "form")
    contenders = tables().contenders
    check_name(family, contenders, "family")
    check_place(place)
    entry = Entry(place, form, role, takes=takes, about=about)
    there = contenders[family].setdefault(name, entry)
    if there != entry:
        raise RegistryError(
            f"{family} contender {name!r} is taken by {there.place}; choose another name"
        )


def register_format(family: str, suffix: str, place: str) -> None:
    """Add a file format of another package, for this process and its workers.

    Args:
        family: name of a registered family.
        suffix: how the names of such files end, e.g. ".fasta".
        place: "package.module:attribute" of a function like `Problem.load_file`; imported when such
            a file is read.

    Raises:
        UnknownNameError: an unknown family.
        RegistryError: the suffix is taken, or a module or attribute is missing.
    """
    check_name(family, tables().families, "family")
    check_place(place)
    there = tables().formats.setdefault(family, {}).setdefault(suffix, place)
    if there != place:
        raise RegistryError(f"{family} format {suffix!r} is taken by {there}; choose another one")


def register_pictures(family: str, place: str) -> None:
    """Add a section of another package to a family's reports.

    Args:
        family: name of a registered family.
        place: "package.module:attribute" of a function like the one that `Problem.pictures` names.

    Raises:
        UnknownNameError: an unknown family.
        RegistryError: a module or attribute is missing.
    """
    check_name(family, tables().families, "family")
    check_place(place)
    if place not in tables().pictures.setdefault(family, []):
        tables().pictures[family].append(place)


def pictures_of(problem: Problem[Any]) -> list[str]:
    """Return the places of the functions that draw a family's sections of the report.

    Args:
        problem: the family.
    """
    own = [problem.pictures] if problem.pictures else []
    return own + tables().pictures.get(problem.family, [])


def read_file(problem: Problem[Any], path: Path, settings: Mapping[str, str]) -> Any:
    """Read a user's file by the format registered for its suffix, or by the family's own loader.

    Args:
        problem: the family.
        path: the file.
        settings: the user's settings, texts by name.

    Raises:
        InstanceError: the file is malformed or of no known format.
        SettingError: a setting cannot be used.
    """
    formats = tables().formats.get(problem.family, {}).items()
    place = next((place for suffix, place in formats if path.name.endswith(suffix)), None)
    try:
        if place is not None:
            return resolve(place)(path, settings)
        return problem.load_file(path, settings)
    except (InstanceError, SettingError) as error:
        beside = str(path.parent) if path.parent.name else str(path)  # the other file of a pair
        if str(path) in str(error) or beside in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Undo what the block registered if it raises."""
    global _tables
    before = copy.deepcopy(tables())
    try:
        yield
    except Exception:
        _tables = before
        raise


def _add_family(name: str, family: Family) -> None:
    tables().families[name] = family
    tables().contenders[name] = {}
    for module in family.contenders:
        _add_tables(name, importlib.import_module(module))
    add_environment(family)


def _add_tables(family: str, module: Any) -> None:
    """Register what the tables of a module list.

    Raises:
        RegistryError: a name is taken, a place is missing, or there is no table.
    """
    entries, package = _entries(module), module.__package__
    formats, pictures = getattr(module, "FORMATS", {}), getattr(module, "PICTURES", ())
    if not (entries or formats or pictures):
        raise RegistryError(
            f"{module!r} holds no table {', '.join(TABLES.values())}, FORMATS, PICTURES"
        )
    for name, entry in entries:
        register(entry.role, family, name, entry.place, entry.form, entry.takes, entry.about)
    for suffix, place in formats.items():
        register_format(family, suffix, resolve_name(place, package))
    for place in pictures:
        register_pictures(family, resolve_name(place, package))


def _entries(module: Any) -> list[tuple[str, Entry]]:
    """Read a module's tables; places become absolute, roles are those of the tables."""
    return [
        (name, replace(entry, place=resolve_name(entry.place, module.__package__), role=role))
        for role, table in TABLES.items()
        for name, entry in getattr(module, table, {}).items()
    ]


def _read_entry_points() -> None:
    """Register what installed packages declare; a broken entry point is skipped with a warning."""
    for group in (FAMILY_GROUP, CONTENDER_GROUP):
        for point in metadata.entry_points(group=group):
            try:
                _plug(group, point.name, point.load())
            except Exception as error:
                owner = point.dist.name if point.dist else "its package"
                warnings.warn(
                    f"{owner}: the entry point {point.name!r} of {group} is left out "
                    f"({type(error).__name__}: {error}); update or uninstall {owner}",
                    RuntimeWarning,
                    stacklevel=2,
                )


def _plug(group: str, family: str, found: Any) -> None:
    """Register what an entry point names: a Family, or a module with tables of contenders."""
    if group == FAMILY_GROUP:
        if not isinstance(found, Family):
            raise RegistryError(f"{found!r} is no sysopt_gym.core.registry.Family")
        register_family(family, found)
        return
    with _all_or_nothing():
        _add_tables(family, found)
