"""Read what a user names as a contender: a registered name, a policy's folder, or a function.

    NAME                    a registered contender
    FOLDER                  a trained policy, played by the agent that its recipe names
    PLAYER@FOLDER           a trained policy, played by the family's agent PLAYER
    package.module:NAME     a function that solves, or a class that plays closed loop
    FILE.py:NAME            the same, in a file

The last four may begin with `NAME=`, the name in tables. What they name is checked, and registered
for this process and its workers, so that everything else knows contenders by their names alone.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .contracts import Form
from .entries import digest_of
from .errors import CheckpointError, RegistryError, SettingError, UnknownNameError
from .files import kind_of, user_path
from .lookup import PACKAGE, check_module, check_name, hint_at, resolve
from .notes import note
from .registry import Entry, contender_entry, contender_names, give, tables
from .user_code import SUFFIX, file_hash

CARD = "policy.json"  # the file by which a folder is known to hold a policy
GENERIC = f"{PACKAGE}.agents.players:LikeliestActions"
CHECK_GENERIC = f"{PACKAGE}.agents.players:check_playable"
Look = Callable[[str], Form]
_NAME = re.compile(r"([^/:@=\\]+)=(.+)", re.DOTALL)
_PLAYER = re.compile(r"([^/:@=\\]+)@(.+)", re.DOTALL)
_FUNCTION = re.compile(r"(.+\.py|[^\W\d]\w*(?:\.\w+)*):([^\W\d]\w*)")


@dataclass(frozen=True, slots=True)
class Argument:
    """A contender argument, split into its parts.

    Attributes:
        text: as the user wrote it.
        name: the name that the user chose; "" for none.
        player: the agent that the user chose for a policy; "" for none.
        place: a registered name, a folder, or where a function is.
    """

    text: str
    name: str
    player: str
    place: str

    @property
    def function(self) -> tuple[str, str] | None:
        """Module or file, and attribute, of a function or class; None of anything else."""
        match = _FUNCTION.fullmatch(self.place)
        is_folder = match is not None and kind_of(Path(self.place)) == "folder"
        return None if match is None or is_folder else (match[1], match[2])


@dataclass(frozen=True, slots=True)
class Found:
    """What an argument that is no registered name stands for.

    Attributes:
        family: the family that it is for.
        entry: where it is.
        names: what it may be called, the shortest first.
    """

    family: str
    entry: Entry
    names: list[str]


def form_of(place: str) -> Form:
    """Import a function or class, and return how it plays.

    Args:
        place: "package.module:attribute" or "FILE.py:attribute".

    Raises:
        RegistryError: it cannot be imported, or is neither a function of three arguments nor a
            class of a player.
        MissingDependencyError: it imports a package that is not installed.
    """
    return _form_of(resolve(place), place)


def name_contender(family: str, text: str, look: Look = form_of) -> str:
    """Return the registered name of the contender that an argument names.

    Args:
        family: name of the family.
        text: the argument, see above.
        look: see `name_contenders`.

    Raises:
        SysOptError: see `name_contenders`.
    """
    return name_contenders([family], [text], look)[text]


def name_contenders(
    families: Sequence[str], texts: Sequence[str], look: Look = form_of
) -> dict[str, str]:
    """Register what arguments name, and return the names by which they are known from now on.

    A policy is for the family that its card says. A registered name wins over a folder of that
    name; "./NAME" is the folder.

    Args:
        families: names of the families that are played.
        texts: the arguments, see above. Registered names of any family stay as they are.
        look: (where a function or class is) -> how it plays. By default it is imported here; a
            judge asks another process.

    Returns:
        Each text -> its name, in the order of the texts.

    Raises:
        UnknownNameError: a name that is not registered, no such folder, or no such agent.
        CheckpointError: a folder without a policy, or with one that is damaged or does not fit.
        RegistryError: a function that cannot be imported or called, or a name that is taken.
        SettingError: an argument that cannot be read, or a function without a family.
        MissingDependencyError: a package is not installed.
    """
    named: dict[str, str] = {}
    found: dict[str, tuple[Argument, Found]] = {}
    for text in dict.fromkeys(texts):
        argument = split(text)
        if argument.place == text and _is_registered(families, text):
            named[text] = text
        elif argument.function:
            found[text] = argument, _function(families, argument, look, *argument.function)
        else:
            found[text] = argument, _policy(families, argument)
    named |= _short_names(families, found)
    for text, (_, one) in found.items():
        give(one.family, named[text], one.entry)
    return {text: named[text] for text in texts}


def split(text: str) -> Argument:
    """Split a contender argument into its parts, without looking at what it names.

    Args:
        text: the argument.
    """
    rest, name, player = text, "", ""
    if match := _NAME.fullmatch(rest):
        name, rest = match.groups()
    if match := _PLAYER.fullmatch(rest):
        player, rest = match.groups()
    return Argument(text, name, player, rest)


def _is_registered(families: Sequence[str], name: str) -> bool:
    """Whether a family has a contender of this name; a folder of the same name is pointed at."""
    known = any(name in contender_names(family) for family in families)
    if known and (Path(name) / CARD).is_file():
        note(
            f"{name!r} is played by the registered contender; the policy in the folder of that "
            f"name is './{name}'"
        )
    return known


def _short_names(
    families: Sequence[str], found: Mapping[str, tuple[Argument, Found]]
) -> dict[str, str]:
    """Choose names: those given, else the shortest that no other contender has.

    A name is taken if any of the families has it: each plays the contenders that it knows.

    Raises:
        RegistryError: a given name is taken.
    """
    named: dict[str, str] = {}
    registered = {name for family in families for name in contender_names(family)}
    for text, (argument, _) in found.items():
        if argument.name:
            if argument.name in named.values():
                raise RegistryError(
                    f"{text}: two contenders are named {argument.name!r}; give one another name, "
                    "NAME=..."
                )
            if argument.name in registered:
                raise RegistryError(
                    f"{text}: {argument.name!r} is a registered contender; give yours another "
                    f"name, e.g. my_{argument.name}=..."
                )
            named[text] = argument.name
    free = {text: one for text, (_, one) in found.items() if text not in named}
    wished = Counter(name for one in free.values() for name in set(one.names))
    for text, one in free.items():
        taken = {*registered, *named.values()}
        for name in one.names:
            if name not in taken and wished[name] == 1:
                named[text] = name
                break
        else:
            raise RegistryError(
                f"{text}: another contender is named {one.names[0]!r}; give yours a name, NAME=..."
            )
    return named


def _function(
    families: Sequence[str], argument: Argument, look: Look, module: str, name: str
) -> Found:
    """Check a function or class, and return what it is.

    Raises:
        RegistryError, MissingDependencyError, SettingError: see `name_contenders`.
    """
    if argument.player:
        raise SettingError(
            f"{argument.text}: PLAYER@ is for the folder of a policy; leave {argument.player}@ out"
        )
    if len(families) != 1:
        raise SettingError(
            f"{argument.text}: name the one family that it is for, e.g. `sysopt-gym compare "
            f"{families[0]} --contenders {argument.text}`"
        )
    if module.endswith(SUFFIX):
        file = user_path(module)
        file_hash(file)  # refuses one that cannot be read
        module = str(file.resolve())
        stem = Path(module).stem
    else:
        check_module(module, argument.text)
        stem = module.rpartition(".")[2]
    place = f"{module}:{name}"
    form = look(place)
    entry = Entry(place, form, "agent" if form == "player" else "solver")
    entry = replace(entry, digest=digest_of(entry))
    folder = Path(module).parent.name if module.endswith(SUFFIX) else module.rpartition(".")[0]
    names = [name, f"{stem}.{name}"] + ([f"{folder}/{stem}.{name}"] if folder else [])
    return Found(families[0], entry, names)


def _form_of(found: Any, place: str) -> Form:
    """Return how an object plays, by its signature.

    Raises:
        RegistryError: it is neither a function of three arguments nor a class of a player.
    """
    line = getattr(getattr(found, "__code__", None), "co_firstlineno", None)
    where = f"{place} (line {line})" if line else place
    if inspect.isclass(found):
        missing = [name for name in ("reset", "act") if not callable(getattr(found, name, None))]
        if missing:
            raise RegistryError(
                f"{where}: the class has no method {' and no method '.join(missing)}; a player has "
                "reset(instance, budget, seed) and act(observation, info)"
            )
        if not _takes(found):
            raise RegistryError(
                f"{where}: the class cannot be made without arguments; give them defaults"
            )
        return "player"
    if not callable(found):
        raise RegistryError(
            f"{where}: is of type {type(found).__name__}; give a function (instance, budget, seed) "
            "or a class with reset and act"
        )
    if not _takes(found, "instance", "budget", "seed"):
        raise RegistryError(
            f"{where}: takes {inspect.signature(found)}; a solver takes (instance, budget, seed)"
        )
    return "planner"


def _takes(found: Any, *arguments: str) -> bool:
    """Whether an object can be called with so many arguments, by place."""
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # of compiled functions nothing is known
        return True
    return True


def _policy(families: Sequence[str], argument: Argument) -> Found:
    """Check a policy and its player, and return what they are.

    Raises:
        UnknownNameError, CheckpointError, MissingDependencyError: see `name_contenders`.
    """
    folder = user_path(argument.place)
    if kind_of(folder) != "folder":
        raise _unknown(families, argument)
    if kind_of(folder / CARD) == "nothing":
        inside = sorted(path.parent for path in folder.glob(f"*/{CARD}"))
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise CheckpointError(
            f"{folder}: holds no policy (no {CARD}){hint}; `sysopt-gym train` writes one to "
            "RUN/policy"
        )
    card = resolve(".agents.checkpoints:read_card")(folder)
    what = f"{folder}: a policy for {card.family} version {card.env_version}"
    if card.family not in tables().families:
        raise CheckpointError(f"{what}, a family that is not installed; install its package")
    if card.family not in families:
        raise CheckpointError(
            f"{what}, but this is about {', '.join(families)}; give it instances of {card.family}"
        )
    entry = _player(folder, resolve(".agents.checkpoints:open_policy")(folder), argument)
    parts = list(folder.resolve().parts[1:])
    if len(parts) > 1 and parts[-1] == "policy":
        parts.pop()
    before = f"{argument.player}@" if argument.player else ""
    names = [before + "/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    return Found(card.family, entry, names)


def _player(folder: Path, policy: Any, argument: Argument) -> Entry:
    """Return the entry of a policy with the agent that plays it.

    Args:
        folder: the policy's.
        policy: what agents.checkpoints.open_policy returned.
        argument: the user's, which may name the agent.

    Raises:
        UnknownNameError: no such agent.
        CheckpointError: the agent takes no policy, or none of this kind.
    """
    family, name = policy.card.family, argument.player or policy.recipe.player
    if name:
        check_name(name, contender_names(family), f"{family} agent")
        by = contender_entry(family, name)
        if policy.kind not in by.takes.split():
            agents = tables().contenders[family].items()
            serve = [agent for agent, entry in agents if policy.kind in entry.takes.split()]
            raise CheckpointError(
                f"{argument.text}: {name} of {family} "
                + (f"plays policies of {by.takes}" if by.takes else "takes no policy")
                + f", this is one of {policy.kind}; "
                + (f"it is played by {', '.join(serve)}" if serve else "no agent plays those")
            )
        place, form = by.place, by.form
    else:
        resolve(CHECK_GENERIC)(folder, policy)
        place, form = GENERIC, "player"
    entry = Entry(place, form, "agent", str(folder.resolve()))
    return replace(entry, digest=digest_of(entry))


def _unknown(families: Sequence[str], argument: Argument) -> UnknownNameError:
    """Return the error about an argument that names nothing."""
    names = list(dict.fromkeys(name for family in families for name in contender_names(family)))
    file = Path(argument.place.rpartition(":")[0] or argument.place)
    if argument.place.endswith(SUFFIX) and kind_of(file) == "file":
        return UnknownNameError(
            f"{argument.text}: name the function in the file, e.g. {argument.place}:solve"
        )
    if argument.place in names:
        return UnknownNameError(
            f"{argument.text}: {argument.place!r} is a registered contender, which has that name "
            f"alone; give {argument.place}, or the folder of a policy"
        )
    if "/" in argument.place or argument.player or argument.name:
        return UnknownNameError(
            f"{argument.text}: there is no folder {argument.place!r}; give the folder of a policy, "
            "such as runs/try/policy, or FILE.py:FUNCTION"
        )
    hint = hint_at(argument.text, names)
    whose = f"{families[0]} " if len(families) == 1 else ""
    return UnknownNameError(
        f"unknown {whose}contender {argument.text!r}; {hint}known: {', '.join(names)}; or the "
        "folder of a policy, or FILE.py:FUNCTION"
    )
