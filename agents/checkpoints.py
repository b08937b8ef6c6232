"""Write and read exported policies: safetensors beside one JSON file, checked when read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ..core.contender_arguments import CARD
from ..core.documents import read_json
from ..core.errors import CheckpointError, InstanceError
from ..core.files import MEGABYTE, PARTIAL, kind_of, read_bytes, write_bytes
from ..core.lookup import resolve
from ..core.problem import Problem
from ..core.registry import load_problem, tables
from .recipe import Recipe, load_recipe
from .run_folder import GO_ON

SHIPPED = Path(__file__).parent / "checkpoints"
MOST_WEIGHTS = 2048 * MEGABYTE
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
Loaded = TypeVar("Loaded")
WEIGHTS = "policy.safetensors"
REMEDY = "train one with `sysopt-gym train`, or install the package again for the shipped ones"


@dataclass(frozen=True, slots=True)
class Card:
    """What a policy is, beside its weights.

    Attributes:
        family, env_version: the environment that it plays.
        width: width of the network.
        stage: where in training it was taken, e.g. "ppo iteration 12".
        expected: instance set -> name of a figure -> the figure, by the family's recipe, when it
            was exported.
        config: the resolved training configuration.
        command: the command line that made it.
        trained_on: content hashes of the instances that it was trained on, in their form for
            contenders; `shipped_for` finds a policy of one instance by them.
        recipe: lazy entry point "module:attribute" of the recipe that made it; "" for the family's
            own.
        network: name of the network's class; "" where an old card does not say.
        form: form of the environment that it plays in; "" for the environment's default.
        algorithm: name in ALGORITHMS of what trained it last, or "imitation"; "" if unknown.
        seed: seed of its training.
        steps: environment steps that its training had seen; 0 if unknown.
    """

    family: str
    env_version: str
    width: int
    stage: str
    expected: dict[str, dict[str, float]]
    config: dict[str, Any]
    command: str
    trained_on: list[str] = field(default_factory=list)
    recipe: str = ""
    network: str = ""
    form: str = ""
    algorithm: str = ""
    seed: int = 0
    steps: int = 0

    @classmethod
    def from_json(cls, document: Any) -> Card:
        """Read a card; one of an earlier version leaves it to its configuration who trained it.

        Args:
            document: the parsed JSON.

        Raises:
            TypeError: a field is missing or unknown, or its value is not of the field's type.
        """
        if not isinstance(document, dict):
            raise TypeError("a card is a JSON object")
        config = document.get("config")
        if isinstance(config, dict):
            given = {name: config[name] for name in ("recipe", "seed") if name in config}
            stage, _, _ = str(document.get("stage", "")).partition(" ")
            document = {"algorithm": stage} | given | document
        card = cls(**document)
        for name, kind in _KINDS.items():
            if not isinstance(getattr(card, name), kind):
                raise TypeError(f"field {name!r} is {getattr(card, name)!r}, no {kind.__name__}")
        return card


_KINDS: Mapping[str, type] = {
    "family": str, "env_version": str, "width": int, "expected": dict, "config": dict,
    "trained_on": list, "recipe": str, "network": str, "form": str, "algorithm": str, "seed": int,
    "steps": int,
}  # fmt: skip
# What decides how a policy plays, beside its weights.
_PLAYS: Sequence[str] = ("family", "env_version", "width", "recipe", "network", "form")


def save_policy(folder: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write weights and card into a folder, which is made if it is missing.

    Args:
        folder: the folder.
        weights: state dict of the network.
        card: what the policy is.

    Raises:
        OutputError: the folder cannot be written.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    write_bytes(folder / WEIGHTS, save(tensors), GO_ON)
    write_bytes(folder / CARD, (json.dumps(asdict(card), indent=1) + "\n").encode(), GO_ON)


def copy_policy(folder: Path, to: Path) -> None:
    """Copy a policy's folder to a place where there is none.

    Raises:
        OSError: it cannot be read, or the copy cannot be written.
    """
    to.mkdir()
    for file in folder.iterdir():
        if not file.name.endswith(PARTIAL):
            shutil.copyfile(file, to / file.name)


def load_policy(folder: Path, problem: Problem[Any]) -> tuple[dict[str, Tensor], Card]:
    """Read what `save_policy` wrote.

    Args:
        folder: the folder.
        problem: the family that the policy is to play.

    Returns:
        The state dict, on the CPU, and the card.

    Raises:
        CheckpointError: a file is missing or damaged, or the policy was trained for another family
            or another version of the environment.
    """
    card, content = _read(folder)
    if (card.family, card.env_version) != (problem.family, problem.env_version):
        raise CheckpointError(
            f"{folder}: a policy for {card.family} version {card.env_version}, but this is "
            f"{problem.family} version {problem.env_version}; {REMEDY}"
        )
    return load(content), card


def read_card(folder: Path) -> Card:
    """Return a policy's card, after checking that its weights can be read.

    Args:
        folder: the folder, see `save_policy`.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    return _read(folder)[0]


def policy_hash(folder: Path) -> str:
    """Return a hash, 12 hexadecimal digits, of a policy's weights and of what they are for.

    Figures and texts of the card are left out: they change nothing about how the policy plays.

    Args:
        folder: the folder, see `save_policy`.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    card, content = _read(folder)
    plays = json.dumps([getattr(card, name) for name in _PLAYS])
    return hashlib.sha256(plays.encode() + content).hexdigest()[:12]


def _read(folder: Path) -> tuple[Card, bytes]:
    """Return the card and the content of the weights' file, after checking both.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    try:
        missing = [name for name in (CARD, WEIGHTS) if kind_of(folder / name) == "nothing"]
        if missing:
            raise CheckpointError(f"{folder / missing[0]}: no such file; {REMEDY}")
        card = Card.from_json(read_json(folder / CARD))
        content = read_bytes(folder / WEIGHTS, limit=MOST_WEIGHTS)
        load(content)
    except (InstanceError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: the policy is damaged ({error}); {REMEDY}") from error
    return card, content


def load_network(
    folder: Path, problem: Problem[Any], make: Callable[[int], AnyNetwork]
) -> AnyNetwork:
    """Make the network of an exported policy, with its weights.

    Args:
        folder: the folder, see `save_policy`.
        problem: the family that the policy is to play.
        make: width -> a network of that width.

    Returns:
        The network, on the CPU.

    Raises:
        CheckpointError: see `load_policy`; or the weights belong to another network.
    """
    weights, card = load_policy(folder, problem)
    network = make(card.width)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        made = type(network).__name__
        raise CheckpointError(
            f"{folder}: the weights do not fit the network, {made} of width {card.width}; {REMEDY}"
        ) from error
    return network


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that fits its family, with everything that made it.

    Attributes:
        card: what it is.
        recipe: the recipe that made it.
        network: its network, with its weights, on the CPU.
    """

    card: Card
    recipe: Recipe[Any, Any, Any]
    network: nn.Module

    @property
    def form(self) -> str:
        """Form of the environment that it plays in."""
        return self.card.form or default_form(self.card.family)

    @property
    def kind(self) -> str:
        """What a player must be made for, as `Entry.takes` says it: the class of the network, and
        the form where it is not the environment's default.
        """
        other = "" if self.form == default_form(self.card.family) else f"/{self.form}"
        return type(self.network).__name__ + other


def default_form(family: str) -> str:
    """Return the form in which a family's environment is made unless another is asked for.

    Args:
        family: name of a registered family.
    """
    forms: Sequence[str] = getattr(resolve(tables().families[family].env), "forms", ("",))
    return forms[0]


def open_policy(folder: Path) -> Policy:
    """Read a policy by its folder alone: its card says what it is for.

    Args:
        folder: the folder, see `save_policy`.

    Raises:
        CheckpointError: a file is missing or damaged; the policy is for another version of the
            environment; its recipe cannot be imported, or makes another network now.
        UnknownNameError: its family is not installed.
    """
    card = read_card(folder)
    problem = load_problem(card.family)
    try:
        recipe = load_recipe(card.family, card.recipe)
    except Exception as error:  # whatever the recipe's module raises when it is imported
        raise CheckpointError(
            f"{folder}: the recipe {card.recipe!r} that made the policy cannot be used ({error}); "
            "install its package, or train a policy by another recipe"
        ) from error
    network = load_network(folder, problem, recipe.network)
    made = type(network).__name__
    if card.network not in ("", made):
        raise CheckpointError(
            f"{folder}: a policy of the network {card.network}, but its recipe "
            f"{card.recipe or 'of the family'} makes {made}; {REMEDY}"
        )
    return Policy(card, recipe, network)


def kept_by_content(load: Callable[[Path], Loaded]) -> Callable[[Path], Loaded]:
    """Wrap a function that loads a policy's folder, so that each policy is loaded once.

    A policy that has been written anew is loaded anew.

    Args:
        load: folder -> what is made of the policy.
    """
    kept: dict[Path, tuple[tuple[int, int, int], Loaded]] = {}

    @wraps(load)
    def once(folder: Path) -> Loaded:
        try:
            state = (folder / WEIGHTS).stat()
        except OSError:
            return load(folder)  # says what is missing
        # A clock that was set back can repeat a time, but what is written anew is another file.
        version = state.st_mtime_ns, state.st_size, state.st_ino
        if folder not in kept or kept[folder][0] != version:
            kept[folder] = version, load(folder)
        return kept[folder][1]

    return once


def shipped_for(
    name: str, problem: Problem[Any], content_hash: str, make: Callable[[int], AnyNetwork]
) -> AnyNetwork | None:
    """Load the shipped policy that was trained on an instance.

    Args:
        name: how the names of the folders to look in begin.
        problem: the family that the policy is to play.
        content_hash: content hash of the instance, in its form for contenders.
        make: width -> a network of that width.

    Returns:
        The network, or None if no shipped policy was trained on the instance.

    Raises:
        CheckpointError: a shipped policy is damaged or for another version of the environment.
    """
    for folder in sorted(SHIPPED.glob(f"{name}*")):
        _, card = load_policy(folder, problem)
        if content_hash in card.trained_on:
            return load_network(folder, problem, make)
    return None
