"""The configuration of a training run: its keys, their defaults, and how a YAML file is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import SettingError
from ..core.lookup import check_name
from ..core.registry import FAMILIES
from .algorithms import ALGORITHMS, PARTS
from .recipe import Recipe, load_recipe

CONFIGS = Path(__file__).parent.parent / "configs"
IMITATION = "imitation"  # the first stage of every run
OPEN = (
    "settings",
    "environment",
    "algorithm",
)  # sections of a stage with keys of others


@dataclass(frozen=True, slots=True)
class ImitationConfig:
    """Section `imitation`: a warm start from the plans of a contender.

    Attributes:
        contender: name of the contender to imitate; "" if the recipe needs none.
        budget_s: budget of one of its plans, seconds.
        instances: names of instance sets.
        epochs: passes over the instances; 0 leaves the stage out.
        batch_size: samples per gradient step.
        learning_rate: of the first pass; it falls linearly towards a twentieth of it.
        options: values of the recipe's own options (`Recipe.options`); in a file they stand beside
            the keys above.
    """

    contender: str = ""
    budget_s: float = 0.3
    instances: list[str] = field(default_factory=list)
    epochs: int = 0
    batch_size: int = 8
    learning_rate: float = 0.002
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReinforcementConfig:
    """Section of a stage of ALGORITHMS, e.g. `ppo`.

    Attributes:
        instances: names of instance sets to play.
        settings: settings of the family's instances, as `compare --set` takes them.
        environment: keyword arguments of the environment.
        iterations: iterations of RLlib's algorithm; 0 leaves the stage out.
        checkpoint_every: iterations between two validations and checkpoints.
        algorithm: method of RLlib's AlgorithmConfig -> its keyword arguments; see algorithms.PARTS.
    """

    instances: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    iterations: int = 0
    checkpoint_every: int = 10
    algorithm: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Settings of a training run.

    Attributes:
        family: name of the problem family.
        recipe: lazy entry point "module:attribute" of a recipe; "" for the family's own.
        out: folder of the run.
        seed: seed of the first weights, of imitation and of RLlib.
        width: width of the network.
        start: policy to start from: a folder, or the name of a shipped one; "" for none.
        validation: names of instance sets; the exported policy is the best on the first.
        imitation: the first stage.
        reinforcement: stage -> its section, in the order in which the stages follow imitation.
    """

    family: str = ""
    recipe: str = ""
    out: str = ""
    seed: int = 0
    width: int = 32
    start: str = ""
    validation: list[str] = field(default_factory=list)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    reinforcement: dict[str, ReinforcementConfig] = field(
        default_factory=lambda: {stage: ReinforcementConfig() for stage in ALGORITHMS}
    )

    @property
    def stages(self) -> dict[str, int]:
        """Return the length of every stage, in order: passes of imitation, iterations of the
        others.
        """
        lengths = {stage: section.iterations for stage, section in self.reinforcement.items()}
        return {IMITATION: self.imitation.epochs} | lengths

    def load_recipe(self) -> Recipe[Any, Any, Any]:
        """Return the recipe that trains the network.

        Raises:
            UnknownNameError: there is no such family.
        """
        return load_recipe(self.family, self.recipe)

    def document(self) -> dict[str, Any]:
        """Return the configuration in its form in a file, with every key."""
        document = asdict(self)
        document[IMITATION] |= document[IMITATION].pop("options")
        document.update(document.pop("reinforcement"))
        return document


def load_config(config: str | Path, overrides: Mapping[str, str]) -> TrainingConfig:
    """Read a configuration: defaults, then the file, then the overrides.

    Args:
        config: a YAML file, or the name of one in configs/.
        overrides: dotted key -> value as YAML text, e.g. {"ppo.iterations": "5"}.

    Raises:
        SettingError: the configuration cannot be read, a required key is missing, or an option
            belongs to another recipe.
        UnknownNameError: there is no such configuration, family or key.
    """
    path = Path(config)
    if not path.suffix:
        names = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        path = CONFIGS / f"{check_name(str(config), names, 'training configuration')}.yaml"
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"{path}: cannot be read as a configuration ({error})") from error
    if not isinstance(document, dict):
        raise SettingError(f"{path}: a configuration is a mapping of keys to values")
    settings = _merged(TrainingConfig().document(), document, str(path), "")
    for key, text in overrides.items():
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingError(f"{key}={text!r} cannot be read ({error})") from error
        for part in reversed(key.split(".")):
            value = {part: value}
        settings = _merged(settings, value, f"override {key}", "")
    for key in ("family", "out", "validation"):
        if not settings[key]:
            raise SettingError(f"{path}: {key!r} is missing; give it a value")
    for stage in ALGORITHMS:
        for part in settings[stage]["algorithm"]:
            check_name(part, PARTS, f"part of {stage}.algorithm")
    return _typed(settings)


def _merged(base: dict[str, Any], changes: Any, place: str, prefix: str) -> dict[str, Any]:
    """Lay `changes` over `base` and return the result.

    Unknown keys are refused, except in the sections OPEN of a stage, and in imitation, whose
    options `_typed` checks.
    """
    if not isinstance(changes, dict):
        raise SettingError(f"{place}: {prefix or 'the document'} must be a mapping")
    free = tuple(prefix.split(".")[:2]) in {(s, part) for s in ALGORITHMS for part in OPEN}
    merged = dict(base)
    for key, value in changes.items():
        if not free and prefix != f"{IMITATION}.":
            check_name(str(key), base, f"key of {prefix.rstrip('.') or place}")
        inner = base.get(key)
        if isinstance(inner, dict) and (isinstance(value, dict) or not free):
            value = _merged(inner, value, place, f"{prefix}{key}.")
        elif isinstance(inner, (str, int, float, list)) and not free:
            value = _checked(value, inner, f"{place}: {prefix}{key}")
        merged[key] = value
    return merged


def _checked(value: Any, default: Any, place: str) -> Any:
    """Return a value if it has the type of its key's default; null stands for an empty text."""
    if value is None and isinstance(default, str):
        return ""
    kind = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, kind):
        names = {str: "text", int: "a whole number", float: "a number", list: "a list"}
        raise SettingError(f"{place}: {value!r} is not {names[type(default)]}")
    return value


def _typed(settings: dict[str, Any]) -> TrainingConfig:
    """Turn the merged document into a configuration, and check the options of imitation."""
    section = dict(settings[IMITATION])
    keys = [f.name for f in fields(ImitationConfig) if f.name != "options"]
    own = load_recipe(settings["family"], settings["recipe"]).options
    options = dict(own)
    for key in [key for key in section if key not in keys]:
        value = section.pop(key)
        if key in own:
            options[key] = value
        elif not _is_anothers_default(key, value):
            check_name(str(key), [*keys, *own], f"key of {IMITATION}")
    return TrainingConfig(
        imitation=ImitationConfig(**section, options=options),
        reinforcement={stage: ReinforcementConfig(**settings[stage]) for stage in ALGORITHMS},
        **{key: value for key, value in settings.items() if key not in (IMITATION, *ALGORITHMS)},
    )


def _is_anothers_default(key: str, value: Any) -> bool:
    """Return whether an option of other recipes has their default, as in resolved configurations of
    earlier versions, which list it.

    Raises:
        SettingError: it has another value; the message names the families whose recipes know it.
    """
    defaults = {family: load_recipe(family).options for family in FAMILIES}
    knowing = [family for family, options in defaults.items() if key in options]
    if not knowing:
        return False
    if all(defaults[family][key] == value for family in knowing):
        return True
    raise SettingError(
        f"{IMITATION}.{key}: this run's recipe has no such option; the recipe of "
        f"{', '.join(knowing)} has; leave it out"
    )
