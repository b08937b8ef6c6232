"""The trained agents as contenders: policies that read the server's statistics alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms
from ...envs.federated_lr.problem import PROBLEM
from ..checkpoints import SHIPPED, kept_by_content, load_network, read_card
from ..recipe import load_recipe
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

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return the next order, int64 [5].

        Args:
            observation: the environment's; "rounds" is read.
            info: the environment's; "alpha" and "beta", the rates now, are read.
        """
        return self.network.order(observation["rounds"], info["alpha"], info["beta"], self.SERVER)


class AlphaZeroPolicy(Ppo):
    """The policy that AlphaZero's self-play trained, searching in forked federations.

    A server cannot fork its clients, so it plays without the search, and is named for that.
    """

    FOLDER = "federated_lr_alphazero"


class Agent(Ppo):
    """The policy that PPO trained to set the rates of FedAdam's server."""

    FOLDER, SERVER = "federated_lr_agent", "adam"
