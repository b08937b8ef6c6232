"""The trained agents as contenders: policies that see what a server sees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms
from ...envs.federated_lr.grid import mask_of, order_of_action
from ...envs.federated_lr.problem import PROBLEM
from ..checkpoints import SHIPPED, load_network
from .network import RatePolicy


@cache
def shipped_policy(folder: Path) -> RatePolicy:
    """A shipped policy.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    return load_network(folder, PROBLEM, RatePolicy).eval()


class Ppo:
    """Plays the likeliest actions of the policy that PPO trained: both rates of plain averaging."""

    FOLDER, SERVER = "federated_lr_ppo", "average"

    def reset(self, told: Terms, budget: Budget, seed: int) -> None:
        """Loads the policy; it is told nothing that it has not seen."""
        self.network = shipped_policy(SHIPPED / self.FOLDER)

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """The next order, int64 [5]."""
        mask = mask_of(info["alpha"], info["beta"])
        obs = {
            "rounds": torch.from_numpy(observation["rounds"][None]),
            "action_mask": torch.from_numpy(mask[None]),
        }
        with torch.inference_mode():
            action = int(self.network.logits(self.network.encode(obs), obs).argmax())
        return order_of_action(action, info["alpha"], info["beta"], self.SERVER)


class MuZero(Ppo):
    """The same with the policy that MuZero's self-play made of it, searching in forked federations;
    a real server can fork nobody, so it plays without the search.
    """

    FOLDER = "federated_lr_muzero"


class Agent(Ppo):
    """Sets the rates of FedAdam's server."""

    FOLDER, SERVER = "federated_lr_agent", "adam"
