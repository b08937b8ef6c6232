"""Records of the registry: where a family's parts are, and where and how a contender plays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .contracts import Form, Role
from .lookup import resolve
from .user_code import SUFFIX, file_hash


@dataclass(frozen=True, slots=True)
class Family:
    """Where the parts of a family are, as "package.module:attribute".

    Attributes:
        problem: its Problem object.
        env_id: the Gymnasium id of its environment, the same as its Problem's.
        env: the class of its environment.
        vector_env: the class that steps many environments at once; None for Gymnasium's own.
        contenders: modules with tables: SOLVERS, AGENTS, ORACLES (name -> Entry), FORMATS (suffix
            -> place), PICTURES (places).
    """

    problem: str
    env_id: str
    env: str
    vector_env: str | None = None
    contenders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a contender is, and how it plays.

    Attributes:
        place: "package.module:attribute"; in a table, a leading dot stands for the table's package.
        form: "planner" or "player"; see Contender.
        role: "agent", "solver" or "oracle"; set from the table that the entry is in.
        policy: folder of the trained policy that it plays, which the object at `place` is then
            given as the keyword `policy`; "" for the contender's own.
        takes: classes of the networks whose policies it can be given, separated by spaces, each
            followed by "/FORM" if they act in another form of the environment than the default; ""
            if it takes none.
        digest: hash of the policy, or of the file at `place`, when the user named it; another one
            is refused when the contender is loaded.
        about: one line on what it is, for lists; "" for the first line of its docstring.
    """

    place: str
    form: Form = "planner"
    role: Role = "solver"
    policy: str = ""
    takes: str = ""
    digest: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything that is registered.

    Attributes:
        families: family name -> Family.
        contenders: family name -> contender name -> Entry.
        formats: family name -> suffix of a file's name -> place of its reader.
        pictures: family name -> places of further sections of its report.
        given: family name -> contender name -> Entry, of policies, functions and files that a user
            named as contenders; they are in no list.
    """

    families: dict[str, Family] = field(default_factory=dict)
    contenders: dict[str, dict[str, Entry]] = field(default_factory=dict)
    formats: dict[str, dict[str, str]] = field(default_factory=dict)
    pictures: dict[str, list[str]] = field(default_factory=dict)
    given: dict[str, dict[str, Entry]] = field(default_factory=dict)


def digest_of(entry: Entry) -> str:
    """Return the hash of what a user gave as a contender, a policy or a file; "" for neither.

    Args:
        entry: of the contender.

    Raises:
        CheckpointError: the policy is missing or damaged.
        RegistryError: the file cannot be read.
    """
    if entry.policy:
        return str(resolve(".agents.checkpoints:policy_hash")(Path(entry.policy)))
    file = entry.place.rpartition(":")[0]
    return file_hash(Path(file)) if file.endswith(SUFFIX) else ""


def moved(tables: Tables, places: Mapping[str, str]) -> Tables:
    """Return a registry for another machine, where the user's files lie elsewhere.

    Args:
        tables: the registry.
        places: folder here -> folder there.
    """

    def there(path: str) -> str:
        folder = next((one for one in places if Path(path).is_relative_to(one)), None)
        return path if folder is None else str(Path(places[folder], Path(path).relative_to(folder)))

    def entry(one: Entry) -> Entry:
        module, _, attribute = one.place.rpartition(":")
        if module.endswith(SUFFIX):
            one = replace(one, place=f"{there(module)}:{attribute}")
        return replace(one, policy=there(one.policy)) if one.policy else one

    given = {
        family: {name: entry(one) for name, one in entries.items()}
        for family, entries in tables.given.items()
    }
    return replace(tables, given=given)
