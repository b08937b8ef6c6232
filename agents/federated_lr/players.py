"""The trained agents as contenders: policies that read the server's statistics alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms
from ...envs.federated_lr.observation import FEATURES, HISTORY
from ...envs.federated_lr.problem import PROBLEM
from ...methods.federated_lr.constants import BEST
from ..checkpoints import SHIPPED, kept_by_content, load_network, read_card
from ..recipe import load_recipe
from ..recurrent.policy import begin
from . import choice
from .network import RatePolicy


@kept_by_content
def load_policy(folder: Path) -> RatePolicy:
    """Load a policy of any form.

    Args:
        folder: the policy's.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    recipe = load_recipe(PROBLEM.family, read_card(folder).recipe)
    network: RatePolicy = load_network(folder, PROBLEM, recipe.network).eval()
    return network


class Ppo:
    """The policy that PPO trained, by its likeliest actions: both rates of plain averaging.

    Args:
        policy: folder of another policy; None for the shipped one.
    """

    FOLDER, SERVER = "federated_lr_ppo", "average"
    FIRST: tuple[float, float] | None = None  # rates to begin with; None for the federation's

    def __init__(self, policy: Path | None = None) -> None:
        self.folder = policy or SHIPPED / self.FOLDER

    def reset(self, instance: Terms, budget: Budget, seed: int) -> None:
        """Load the policy.

        Args:
            instance: not read.
            budget: not read; an action takes no time to speak of.
            seed: not read; the policy is deterministic.
        """
        self.network = load_policy(self.folder)
        self.state = begin(self.network)

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return the next order, int64 [5].

        Args:
            observation: the environment's; "rounds" is read.
            info: the environment's; "alpha" and "beta", the rates now, are read.
        """
        rates = info["alpha"], info["beta"]
        return self.network.order(observation["rounds"], *rates, self.SERVER, self.state)


class AlphaZeroPolicy(Ppo):
    """The policy that AlphaZero's self-play trained, searching in forked federations.

    A server cannot fork its clients, so it plays without the search, and is named for that.
    """

    FOLDER = "federated_lr_alphazero"


class Agent(Ppo):
    """The policy that PPO trained to set the rates of FedAdam's server.

    It begins with the best constant rates of FedAdam, whatever rates the federation begins with.
    """

    FOLDER, SERVER = "federated_lr_agent", "adam"
    FIRST = BEST["fedadam_constant"].alpha, BEST["fedadam_constant"].beta

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return the next order, int64 [5]; see Ppo.act."""
        rounds, (alpha, beta) = observation["rounds"].copy(), self.FIRST
        step = info["step"]
        if step < HISTORY:  # the row of the first step, before any order
            rounds[step, FEATURES.index("alpha")] = np.log10(alpha)
            rounds[step, FEATURES.index("beta")] = np.log10(beta) / 2.0
        if step:
            alpha, beta = info["alpha"], info["beta"]
        return self.network.order(rounds, alpha, beta, self.SERVER, self.state)


class Adaptive(Agent):
    """The policy that was trained on drifting federations: both rates of plain averaging.

    It begins with the best constant rates of averaging there, whatever rates the federation begins
    with.
    """

    FOLDER, SERVER = "federated_lr_adaptive", "average"
    FIRST = 2.0, 0.3


class Choice(Agent):
    """The policy that chooses the server's rule and both rates again and again, among fixed ones.

    It was trained on mixed and drifting federations, and begins with averaging at 2/.1, whatever
    rates the federation begins with.
    """

    FOLDER, SERVER = "federated_lr_choice", choice.FIRST.server
    FIRST = choice.FIRST.alpha, choice.FIRST.beta
