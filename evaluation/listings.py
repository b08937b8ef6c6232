"""What the commands list, as plain records: the same ones for tables and for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.contracts import Role, Setting
from ..core.extras import remedy_for
from ..core.registry import contender_entry, contender_names, load_problem
from ..core.source_text import about, not_installed, packages_of
from .catalog import check_families

Record = dict[str, Any]
ALL = ("families", "instances", "solvers", "agents")  # what `list` lists where nothing is named


def listed(what: str | None, families: Sequence[str] = ()) -> dict[str, list[Record]]:
    """Return what is registered, by kind.

    Args:
        what: one of KINDS; None for those of ALL.
        families: names of families; empty for all.

    Raises:
        UnknownNameError: no such family.
    """
    names = check_families(families)
    kinds = [what] if what else ALL
    return {kind: [one for name in names for one in KINDS[kind](name)] for kind in kinds}


def _family(family: str) -> list[Record]:
    problem = load_problem(family)
    return [
        {
            "family": family,
            "environment": problem.env_id,
            "version": problem.env_version,
            "about": problem.title,
        }
    ]


def _sets(family: str) -> list[Record]:
    sets = load_problem(family).sets
    return [{"family": family, "set": name, "about": line} for name, line in sets.items()]


def _contenders(family: str, *roles: Role) -> list[Record]:
    defaults = load_problem(family).defaults
    played = {*defaults.contenders, *defaults.always, defaults.baseline}
    found = []
    for role in roles:
        for name in contender_names(family, role):
            entry = contender_entry(family, name)
            missing = not_installed(packages_of(entry.place))
            found.append(
                {
                    "family": family,
                    "name": name,
                    "role": role,
                    "form": entry.form,
                    "about": entry.about or about(entry.place),
                    "played_by_default": name in played,
                    "baseline": name == defaults.baseline,
                    "installed": not missing,
                    "remedy": remedy_for(missing) if missing else "",
                }
            )
    return found


def _settings(family: str, table: Mapping[str, Setting]) -> list[Record]:
    return [
        {"family": family, "name": name, "default": setting.default, "about": setting.help}
        for name, setting in table.items()
    ]


# What can be listed -> the records of one family. Settings and parameters are those tables that
# `--set` is read by.
KINDS: Mapping[str, Callable[[str], list[Record]]] = {
    "families": _family,
    "instances": _sets,
    "solvers": lambda family: _contenders(family, "solver", "oracle"),
    "agents": lambda family: _contenders(family, "agent"),
    "settings": lambda family: _settings(family, load_problem(family).settings),
    "generators": lambda family: _settings(family, load_problem(family).generator_parameters),
}
