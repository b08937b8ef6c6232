"""Training of federated_lr's policy: its network, its imitation samples and its score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from ...core.errors import SettingError
from ...datasets.federated_lr.instance import Federation
from ...envs.federated_lr.env import FederatedLREnv
from ...envs.federated_lr.objective import objective_of
from ..batches import imitate_choices
from ..recipe import ImitationPass, JudgedFigure, Recipe
from ..recurrent.imitation import Episode, learn_worth
from ..recurrent.policy import begin
from . import choice
from .hindsight import lessons as lessons_in_hindsight
from .imitation import lessons
from .network import LogRatePolicy, OrderPolicy, RatePolicy, RecurrentRatePolicy
from .players import Adaptive, Agent, Choice

FIGURES = ("error", "final_error", "mean_error", "loss_left")


def score(
    network: RatePolicy,
    instances: Sequence[Federation],
    server: str = "average",
    first: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Score the likeliest actions in the world of seed 0, as means over instances.

    Args:
        network: the policy.
        instances: the federations.
        server: the rule that alpha is the rate of; orders name theirs.
        first: rates of server and clients to begin with, in place of the federation's own.

    Returns:
        error: 1 - the federation's objective, of validation rows, or the share of the rounds that a
        target takes; final_error: 1 - final validation accuracy; mean_error: the same over all
        rounds; loss_left: the last validation loss over the first.
    """
    rows = []
    for federation in instances:
        if first is not None:
            federation = dataclasses.replace(federation, alpha=first[0], beta=first[1])
        env = FederatedLREnv(federation, form="orders")
        observation, info = env.reset(seed=0)
        ended, accuracies, state = False, [], begin(network)
        while not ended:
            rates = info["alpha"], info["beta"]
            order = network.order(observation["rounds"], *rates, server, state)
            observation, _, ended, _, info = env.step(order)
            accuracies.append(info["validation_accuracy"])
        short = federation.rounds + 1 - len(accuracies)
        accuracies += [0.0] * short
        left = info["validation_loss"] / info["initial_loss"]
        least = objective_of(federation).sign > 0
        error = info["objective"] / federation.rounds if least else 1.0 - info["objective"]
        rows.append((error, 1.0 - accuracies[-1], 1.0 - float(np.mean(accuracies[1:])), left))
    return dict(zip(FIGURES, map(float, np.mean(rows, axis=0)), strict=True))


def refuse_imitation(imitation: ImitationPass[Any, Federation]) -> list[Any]:
    """Refuse lessons, which are of actions on the grid.

    Raises:
        SettingError: always.
    """
    raise SettingError(
        "imitation.epochs: only policies of form grid learn from plans; leave it at 0, or train "
        "with the recipe '' and environment.form grid"
    )


_HERE = ".agents.federated_lr.recipe"
RECIPE = Recipe(
    network=RatePolicy,
    lessons=lessons,
    imitate=imitate_choices,
    score=score,
    chosen_by="final_error",
    judged=JudgedFigure("final_error", lambda accuracy: 1.0 - accuracy, "final_accuracy"),
    player="ppo",
    forms={"continuous": f"{_HERE}:CONTINUOUS", "orders": f"{_HERE}:ORDERS"},
)
ADAM = dataclasses.replace(
    RECIPE,
    score=partial(score, server=Agent.SERVER, first=Agent.FIRST),
    chosen_by="error",
    player="agent",
)
DRIFTING: Recipe[Any, Federation, Episode] = Recipe(
    network=RatePolicy,
    lessons=lessons_in_hindsight,
    imitate=learn_worth,
    score=partial(score, server=Adaptive.SERVER, first=Adaptive.FIRST),
    chosen_by="error",
)
GRU = dataclasses.replace(DRIFTING, network=RecurrentRatePolicy, memory=True)
CHOICE: Recipe[Any, Federation, Episode] = Recipe(
    network=choice.ChoicePolicy,
    lessons=choice.lessons,
    imitate=choice.learn,
    score=partial(score, server=Choice.SERVER, first=Choice.FIRST),
    chosen_by="error",
    player="choice",
)
CONTINUOUS = dataclasses.replace(
    RECIPE, network=LogRatePolicy, lessons=refuse_imitation, actions=(gym.spaces.Box,)
)
ORDERS = dataclasses.replace(CONTINUOUS, network=OrderPolicy, actions=(gym.spaces.MultiDiscrete,))
