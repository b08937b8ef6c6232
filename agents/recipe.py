"""What a family provides for training: its network, its imitation samples and its score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from ..core.errors import SettingError
from ..core.lookup import check_name, resolve
from ..core.registry import FAMILIES, family_names

SCORE_SAMPLES = 8
SCORE_TEMPERATURE = 0.5

AnyInstance = TypeVar("AnyInstance")
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
AnySample = TypeVar("AnySample")
NetworkIn = TypeVar("NetworkIn", bound=nn.Module, contravariant=True)
SampleIn = TypeVar("SampleIn", contravariant=True)


@dataclass(frozen=True, slots=True)
class ImitationPass(Generic[AnyNetwork, AnyInstance]):
    """One pass of imitation, as a recipe's `lessons` receives it.

    Attributes:
        number: number of the pass, from 0.
        network: the network as the passes before have trained it.
        instances: the instances to learn from.
        plan: instance -> actions of the imitated contender. Its plans for `instances` are computed
            once and kept for later passes; it raises SettingError if no contender is named.
        rng: source of all randomness of the pass.
        options: values of the recipe's own options, see `Recipe.options`.
        discount: of the rewards in what the value learns: the run's, in the stage that comes next.
        environment: keyword arguments of the environment of that stage.
    """

    number: int
    network: AnyNetwork
    instances: Sequence[AnyInstance]
    plan: Callable[[AnyInstance], np.ndarray]
    rng: np.random.Generator
    options: Mapping[str, Any] = field(default_factory=dict)
    discount: float = 1.0
    environment: Mapping[str, Any] = field(default_factory=dict)


class Imitate(Protocol[NetworkIn, SampleIn]):
    """Function that trains a network on samples for one pass."""

    def __call__(
        self,
        network: NetworkIn,
        samples: Sequence[SampleIn],
        optimizer: torch.optim.Optimizer,
        batch_size: int,
        rng: np.random.Generator,
        /,
    ) -> dict[str, float]:
        """Descend the loss of every sample once and return the means of its parts.

        Args:
            network: the network to train.
            samples: what `Recipe.lessons` returned.
            optimizer: optimizer of the network's parameters.
            batch_size: samples per gradient step.
            rng: source of the order of the samples.

        Returns:
            Name of a part -> its mean over the samples; "loss" is that of the policy, "value_loss"
            that of the value.
        """
        ...


@dataclass(frozen=True, slots=True)
class JudgedFigure:
    """The figure of a recipe's score that any contender's plan has too.

    Attributes:
        name: key in what `Recipe.score` returns.
        of: objective of one instance, as the environment reports it at the end -> the figure.
        objective: name of the objective that this holds for; "" for any.
    """

    name: str
    of: Callable[[float], float]
    objective: str = ""


@dataclass(frozen=True, slots=True)
class Recipe(Generic[AnyNetwork, AnyInstance, AnySample]):
    """A family's part of the training pipeline; the rest is the same for all families.

    Attributes:
        network: width -> the network. To be trained by RLlib it needs encode(observations), whose
            result has a `context`, float32 [B, width]; logits(encoded, observations), float32 [B,
            A], masked; and value(encoded), float32 [B].
        lessons: pass of imitation -> samples to imitate.
        imitate: one pass of gradient descent over samples; see `Imitate`.
        score: (network, instances) -> figures by name, lower is better.
        chosen_by: the figure of `score` that decides which network is exported.
        options: keys of the configuration's `imitation` section that this recipe alone knows, with
            their defaults.
        player: name of the family's agent by which a policy of this recipe plays where the user
            names none; "" for the closed-loop player of players.py.
        judged: the figure of `score` by which solvers are drawn beside learning curves; None if the
            score is of something else than plans.
        self_play: entry point of the compiled self-play that PPO's runners play by, a
            selfplay.segment.SelfPlay; "" for RLlib's runner on the environment.
        actions: types of the action spaces that the network chooses in.
        forms: form of the environment -> entry point of the recipe whose network acts in it, where
            this one's does not.
        memory: whether the network has a `memory`, see recurrent/policy.py.
    """

    network: Callable[[int], AnyNetwork]
    lessons: Callable[[ImitationPass[AnyNetwork, AnyInstance]], list[AnySample]]
    imitate: Imitate[AnyNetwork, AnySample]
    score: Callable[[AnyNetwork, Sequence[AnyInstance]], dict[str, float]]
    chosen_by: str
    options: Mapping[str, Any] = field(default_factory=dict)
    player: str = ""
    judged: JudgedFigure | None = None
    self_play: str = ""
    actions: tuple[type[gym.Space[Any]], ...] = (gym.spaces.Discrete,)
    forms: Mapping[str, str] = field(default_factory=dict)
    memory: bool = False


def score_plans(plays: Iterable[Callable[[float], float]]) -> dict[str, float]:
    """Score a policy by the plans it makes.

    Args:
        plays: for each instance a function: temperature -> objective of a plan sampled at it, lower
            is better; at 0.0 of the likeliest plan.

    Returns:
        Means over the instances: "greedy" of the likeliest plan, "sample" of SCORE_SAMPLES samples
        at SCORE_TEMPERATURE, "best_of_8" of the best of these.
    """
    rows = []
    for play in plays:
        greedy = play(0.0)
        samples = [play(SCORE_TEMPERATURE) for _ in range(SCORE_SAMPLES)]
        rows.append((greedy, float(np.mean(samples)), min(samples)))
    names = "greedy", "sample", f"best_of_{SCORE_SAMPLES}"
    return dict(zip(names, map(float, np.mean(rows, axis=0)), strict=True))


def load_recipe(family: str, entry: str = "") -> Recipe[Any, Any, Any]:
    """Return the recipe that trains a family's policy.

    Args:
        family: name of the family.
        entry: lazy entry point "module:attribute" of another recipe; "" for the family's own.

    Raises:
        UnknownNameError: there is no such family.
        SettingError: the family is another package's, whose recipes have no fixed place; or there
            is no recipe at that place.
    """
    check_name(family, family_names(), "family")
    if not entry and family not in FAMILIES:
        raise SettingError(f"recipe: name the recipe that trains {family}, as 'module:attribute'")
    recipe = resolve(entry or f".agents.{family}.recipe:RECIPE")
    if not isinstance(recipe, Recipe):
        raise SettingError(f"recipe: {entry} is no sysopt_gym.agents.recipe.Recipe; name one")
    return recipe


def recipe_for(family: str, entry: str, space: gym.Space[Any]) -> Recipe[Any, Any, Any]:
    """Return the recipe whose network chooses in an action space.

    Args:
        family: name of the family.
        entry: see `load_recipe`; where it is "", the recipes of the family's other forms are tried
            after its own.
        space: the action space.

    Raises:
        UnknownNameError: there is no such family.
        SettingError: no network chooses such actions; the message lists what serves.
    """
    own = load_recipe(family, entry)
    recipes = [own] + ([] if entry else [load_recipe(family, at) for at in own.forms.values()])
    for recipe in recipes:
        if isinstance(space, recipe.actions):
            return recipe
    served = sorted({kind.__name__ for recipe in recipes for kind in recipe.actions})
    others = f"; or take recipe {' or '.join(own.forms.values())}" if entry and own.forms else ""
    raise SettingError(
        f"no network of {family} chooses actions of {space}; make the environment in a form whose "
        f"actions are {' or '.join(served)}{others}"
    )
