"""The configuration of a training run: its keys, their defaults, and how a YAML file is read."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..core.documents import MOST_DEPTH
from ..core.errors import InstanceError, SettingError, UnknownNameError
from ..core.files import kind_of, user_path
from ..core.lookup import check_name
from ..core.registry import FAMILIES, family_names, load_problem
from .algorithms import ALGORITHMS, PARTS
from .bounded_yaml import parse_yaml, read_yaml
from .checkpoints import SHIPPED, read_card
from .curriculum import UNIFORM
from .curriculum.table import load_curriculum
from .optimizers import OPTIMIZERS
from .recipe import Recipe, load_recipe
from .selfplay.setup import AUTO

CONFIGS = Path(__file__).parent.parent / "configs"
IMITATION = "imitation"  # the first stage of every run
OPEN = (
    "settings",
    "environment",
    "algorithm",
    "curriculum",
)  # sections of a stage with keys of others
# What numbers of any section may be, by their names.
RANGES: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1), "seeds": (1, 1000), "width": (1, 2**16), "epochs": (0, 10**9),
    "budget_s": (1e-3, 10**6), "batch_size": (1, 10**6), "learning_rate": (0.0, 1e3),
    "iterations": (0, 10**9), "checkpoint_every": (1, 10**9), "samples": (1, 10**6),
    "concurrent": (1, 10**4),
}  # fmt: skip
SHARED = ("env_runners", "learners", "fault_tolerance")  # parts that any algorithm can take over


@dataclass(frozen=True, slots=True)
class ImitationConfig:
    """Section `imitation`: a warm start from the plans of a contender.

    Attributes:
        contender: name of the contender to imitate; "" if the recipe needs none.
        budget_s: budget of one of its plans, seconds.
        instances: sets, members of sets, files, archives or folders.
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
        instances: instances to play, as `compare --instances` takes them.
        settings: settings of the family's instances, as `compare --set` takes them.
        environment: keyword arguments of the environment.
        self_play: how episodes are played: "auto" (compiled, where the family and the algorithm
            serve it), "compiled" or "environment" (RLlib's loop); see selfplay/setup.py.
        iterations: iterations of RLlib's algorithm; 0 leaves the stage out.
        checkpoint_every: iterations between two validations and checkpoints.
        curriculum: what chooses the instance of an episode: its "name", one of
            curriculum.CURRICULA, and its options; in a file its name alone does, too.
        algorithm: method of RLlib's AlgorithmConfig -> its keyword arguments; see algorithms.PARTS.
    """

    instances: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    self_play: str = AUTO
    iterations: int = 0
    checkpoint_every: int = 10
    curriculum: dict[str, Any] = field(default_factory=lambda: {"name": UNIFORM})
    algorithm: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """Section `sweep`: runs that try values of any keys, see agents/sweep.py.

    Attributes:
        space: dotted key -> one of sweep.SPACES with its values, e.g. {"width": {"choice": [16,
            32]}}; a run is no sweep if it is empty.
        samples: draws from the space; each point of its grids is tried in each.
        scheduler: "none", "asha" or "pbt".
        metric: figure of validation that the trials are compared by, "SET/FIGURE"; lower is better;
            "" for the recipe's own on the first validation set.
        concurrent: trials at a time.
    """

    space: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: int = 1
    scheduler: str = "none"
    metric: str = ""
    concurrent: int = 1


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Settings of a training run.

    Attributes:
        family: name of the problem family.
        recipe: lazy entry point "module:attribute" of a recipe; "" for the family's own.
        out: folder of the run.
        seed: seed of the first weights, of imitation and of RLlib.
        seeds: runs that differ in their seed alone, from `seed` on.
        width: width of the network.
        start: policy to start from: a folder, or the name of a shipped one; "" for none.
        algorithm: name in ALGORITHMS of what trains in place of the file's reinforcement; "" for
            the sections as they are.
        optimizer: what every stage learns by: "adam" or "lamb"; see optimizers.py.
        normalize_and_project: whether weight matrices keep the norms that they have at the run's
            beginning.
        validation: instances as above; the exported policy is the best on the first of the list.
        trackers: names in trackers.TRACKERS of what is told of every pass and iteration.
        sweep: what is varied from run to run.
        imitation: the first stage.
        reinforcement: stage -> its section, in the order in which the stages follow imitation.
    """

    family: str = ""
    recipe: str = ""
    out: str = ""
    seed: int = 0
    seeds: int = 1
    width: int = 32
    start: str = ""
    algorithm: str = ""
    optimizer: str = "adam"
    normalize_and_project: bool = False
    validation: list[str] = field(default_factory=list)
    trackers: list[str] = field(default_factory=list)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    reinforcement: dict[str, ReinforcementConfig] = field(
        default_factory=lambda: {stage: ReinforcementConfig() for stage in ALGORITHMS}
    )

    @property
    def form(self) -> str:
        """Return the form of the environment that the policy plays in; "" for the default."""
        on = [section for section in self.reinforcement.values() if section.iterations > 0]
        return next((str(section.environment.get("form", "")) for section in on), "")

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

    Files of instances and the start are named from the working directory; the result has their
    absolute paths. A start has the say over the width unless the user gave one with it.

    Args:
        config: a YAML file, or the name of one in configs/.
        overrides: dotted key -> value as YAML text, e.g. {"ppo.iterations": "5"}.

    Raises:
        SettingError: the configuration cannot be read, a required key is missing, or an option
            belongs to another recipe.
        UnknownNameError: there is no such configuration, family or key.
        CheckpointError: the start cannot be read.
    """
    path = Path(config)
    if not path.suffix:
        names = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        path = CONFIGS / f"{check_name(str(config), names, 'training configuration')}.yaml"
    try:
        return _loaded(path, overrides)
    except (InstanceError, SettingError, UnknownNameError) as error:
        kind = SettingError if isinstance(error, InstanceError) else type(error)
        said = str(error) if path.name in str(error) else f"{path}: {error}"
        raise kind(said) from error


def _loaded(path: Path, overrides: Mapping[str, str]) -> TrainingConfig:
    """Read a configuration's file; see `load_config`."""
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise SettingError(f"{path}: a configuration is a mapping of keys to values")
    settings = overridden(_merged(TrainingConfig().document(), document, str(path), ""), overrides)
    for key in ("family", "out", "validation"):
        if not settings[key]:
            raise SettingError(f"{path}: {key!r} is missing; give it a value")
    if settings["start"]:
        layer: Mapping[str, Any] = overrides if "start" in overrides else document
        if "width" not in layer and "width" not in overrides:
            settings["width"] = read_card(policy_folder(settings["start"])).width
    return typed(settings)


def overridden(settings: dict[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Lay overrides over a whole document.

    Args:
        settings: every key with its value, see `TrainingConfig.document`.
        overrides: dotted key -> value as YAML text.

    Raises:
        SettingError: a value cannot be read, or has another type than its key.
        UnknownNameError: there is no such key.
    """
    for key, text in overrides.items():
        try:
            value: Any = parse_yaml(f"{key}={text[:100]}", text)
        except InstanceError as error:
            raise SettingError(str(error)) from error
        if key.count(".") > MOST_DEPTH:
            raise SettingError(f"{key[:100]}: there is no such key")
        for part in reversed(key.split(".")):
            value = {part: value}
        settings = _merged(settings, value, f"override {key}", "")
    return settings


def is_shipped(name: str) -> bool:
    """Whether this package has a policy of this name.

    Args:
        name: the name.
    """
    return any(name == folder.name for folder in SHIPPED.iterdir())


def policy_folder(name: str) -> Path:
    """Return the folder of the policy that `start` names.

    Args:
        name: a folder, or the name of a shipped policy.

    Raises:
        SettingError: neither.
    """
    if is_shipped(name):
        return SHIPPED / name
    folder = user_path(name)
    if kind_of(folder) != "folder":
        shipped = ", ".join(sorted(path.name for path in SHIPPED.iterdir()))
        raise SettingError(
            f"start: {name!r} is neither a folder nor a shipped policy; shipped: {shipped}"
        )
    return folder


def typed(settings: dict[str, Any]) -> TrainingConfig:
    """Turn a merged document into a configuration: algorithm chosen, paths absolute.

    Args:
        settings: every key with its value.

    Raises:
        SettingError: an option of imitation belongs to another recipe, the algorithm has no section
            to take over from, or a curriculum cannot serve its stage.
        UnknownNameError: there is no such family, algorithm, part of an algorithm, curriculum or
            option.
    """
    for stage in ALGORITHMS:
        for part in settings[stage]["algorithm"]:
            check_name(part, PARTS, f"part of {stage}.algorithm")
    settings = dict(settings)
    check_name(settings["optimizer"], OPTIMIZERS, "optimizer")
    if settings["algorithm"]:
        settings |= _sections_of(
            check_name(settings["algorithm"], ALGORITHMS, "algorithm"), settings
        )
    sets = load_problem(check_name(settings["family"], family_names(), "family")).sets
    if settings["start"] and not is_shipped(settings["start"]):
        settings["start"] = str(user_path(settings["start"]).absolute())
    settings["validation"] = _absolute(settings["validation"], sets)
    for stage in (IMITATION, *ALGORITHMS):
        found = _absolute(settings[stage]["instances"], sets)
        settings[stage] = settings[stage] | {"instances": found}
    for stage in ALGORITHMS:
        settings[stage]["curriculum"] = _curriculum(stage, settings[stage]["curriculum"])
    section = settings[IMITATION]
    settings[IMITATION] = _imitation(section, load_recipe(settings["family"], settings["recipe"]))
    settings["sweep"] = SweepConfig(**settings["sweep"])
    read = TrainingConfig(
        reinforcement={stage: ReinforcementConfig(**settings[stage]) for stage in ALGORITHMS},
        **{key: value for key, value in settings.items() if key not in ALGORITHMS},
    )
    if read.recipe or not read.form:
        return read
    return replace(read, recipe=load_recipe(read.family).forms.get(read.form, ""))


def _absolute(arguments: list[str], sets: Container[str]) -> list[str]:
    """Make paths among arguments of instances absolute; names of sets stay."""

    def absolute(argument: str) -> str:
        if argument.partition("/")[0] in sets:
            return argument
        path = user_path(argument)
        return argument if kind_of(path) == "nothing" else str(path.absolute())

    return [absolute(str(argument)) for argument in arguments]


def _sections_of(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of all stages when one algorithm trains in place of the others.

    Its section takes over what the last section that was on says, apart from what it says itself.
    """
    on = [stage for stage in ALGORITHMS if settings[stage]["iterations"] > 0]
    if not on:
        raise SettingError(
            f"algorithm: {name} has nothing to train on; give {name}.iterations and "
            f"{name}.instances"
        )
    others = [stage for stage in on if stage != name]
    own, source = settings[name], settings[others[-1] if others else name]
    default = asdict(ReinforcementConfig())
    taken = {key: source[key] if own[key] == default[key] else own[key] for key in own}
    parts = {part: source["algorithm"][part] for part in SHARED if part in source["algorithm"]}
    taken["algorithm"] = parts | own["algorithm"]
    off = {stage: settings[stage] | {"iterations": 0} for stage in ALGORITHMS}
    return off | {name: taken}


def _merged(base: dict[str, Any], changes: Any, place: str, prefix: str) -> dict[str, Any]:
    """Lay `changes` over `base` and return the result.

    Unknown keys are refused, except in the sections OPEN of a stage, and in imitation, whose
    options `_typed` checks.
    """
    if not isinstance(changes, dict):
        raise SettingError(f"{place}: {prefix or 'the document'} must be a mapping")
    free = tuple(prefix.split(".")[:2]) in {
        ("sweep", "space"),
        *((stage, part) for stage in ALGORITHMS for part in OPEN),
    }
    merged = dict(base)
    for key, value in changes.items():
        if not free and prefix != f"{IMITATION}.":
            check_name(str(key), base, f"key of {prefix.rstrip('.') or place}")
        inner = base.get(key)
        if key == "curriculum" and prefix.rstrip(".") in ALGORITHMS:
            value = _renamed_curriculum(inner or {}, value, f"{place}: {prefix}{key}")
        elif isinstance(inner, dict) and (isinstance(value, dict) or not free):
            value = _merged(inner, value, place, f"{prefix}{key}.")
        elif isinstance(inner, (str, int, float, list)) and not free:
            value = _checked(value, inner, f"{place}: {prefix}{key}", RANGES.get(key))
        merged[key] = value
    return merged


def _checked(
    value: Any, default: Any, place: str, allowed: tuple[float, float] | None = None
) -> Any:
    """Return a value if it has the type of its key's default; null stands for an empty text."""
    if value is None and isinstance(default, str):
        return ""
    kind = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, kind) or isinstance(value, bool) != isinstance(default, bool):
        names = {str: "text", int: "a whole number", float: "a number", list: "a list"}
        raise SettingError(f"{place}: {value!r} is not {names.get(type(default), 'true or false')}")
    low, high = allowed or (-math.inf, math.inf)
    if isinstance(value, (int, float)) and not low <= value <= high:
        raise SettingError(f"{place}: {value!r} is outside {low:g}..{high:g}; correct it")
    return value


def _renamed_curriculum(before: Mapping[str, Any], value: Any, place: str) -> dict[str, Any]:
    """Lay a curriculum's section, or its name alone, over another; the options of one of another
    name do not stay.
    """
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise SettingError(f"{place}: {value!r} is neither a name nor a mapping with one")
    stays = given.get("name", before.get("name")) == before.get("name")
    return (dict(before) if stays else {}) | dict(given)


def _curriculum(stage: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a curriculum's section with all its options, checked."""
    name, place = str(section.get("name", UNIFORM)), f"{stage}.curriculum"
    if ALGORITHMS[stage].offline and name != UNIFORM:
        raise SettingError(f"{place}: {stage} learns from recordings; leave it at {UNIFORM}")
    found = load_curriculum(name)
    options = found.options()
    for key, value in section.items():
        if key != "name":
            default = options[check_name(str(key), options, f"option of {place} {name}")]
            options[key] = _checked(value, default, f"{place}.{key}", found.ranges.get(key))
    return {"name": name} | options


def _imitation(section: Mapping[str, Any], recipe: Recipe[Any, Any, Any]) -> ImitationConfig:
    """Turn the section into its configuration, after checking the recipe's own options."""
    section = dict(section)
    keys = [f.name for f in fields(ImitationConfig) if f.name != "options"]
    options = dict(recipe.options)
    for key in [key for key in section if key not in keys]:
        value = section.pop(key)
        if key in recipe.options:
            options[key] = value
        elif not _is_anothers_default(key, value):
            check_name(str(key), [*keys, *recipe.options], f"key of {IMITATION}")
    return ImitationConfig(**section, options=options)


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
