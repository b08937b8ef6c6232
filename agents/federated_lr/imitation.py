"""Warm start of the rate policy from a controller: at each of its steps, the discrete action
nearest to its rates. Uses torch and the core contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...core.budget import Budget
from ...core.contracts import Solver
from ...core.errors import SettingError
from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Federation
from ...envs.federated_lr.env import FederatedLREnv
from ...envs.federated_lr.grid import mask_of, nearest_action
from ...envs.federated_lr.orders import ALPHA, BETA, rate_of
from ..batches import one_pass, stack
from .network import RatePolicy

VALUE_WEIGHT = 0.5


class Sample(NamedTuple):
    """An observation, the action to imitate, and the rewards that followed."""

    observation: dict[str, np.ndarray]
    action: int
    to_come: float


def lessons(
    network: RatePolicy,
    instances: Sequence[Federation],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Sample]:
    """The steps of a controller's episodes, one an instance; see Recipe. States of own play are not
    used.
    """
    if solver is None:
        raise SettingError("imitation.contender: name the controller that is imitated")
    samples: list[Sample] = []
    for federation in instances:
        samples += demonstrate(federation, solver(federation, budget, 0).actions, 0)
    return samples


def demonstrate(federation: Federation, orders: np.ndarray, seed: int) -> list[Sample]:
    """An episode under the orders, int64 [steps, 5], in the world of the seed."""
    env = FederatedLREnv(federation, form="orders")
    observation, info = env.reset(seed=seed)
    seen, actions, rewards = [], [], []
    for row in orders:
        now = info["alpha"], info["beta"]
        mask = mask_of(*now)
        wanted = rate_of(int(row[ALPHA]), ALPHA_RANGE), rate_of(int(row[BETA]), BETA_RANGE)
        seen.append(observation | {"action_mask": mask})
        actions.append(nearest_action(*wanted, mask, now))
        observation, reward, _, _, info = env.step(row)
        rewards.append(reward)
    to_come = np.cumsum(rewards[::-1])[::-1]
    return [Sample(*parts) for parts in zip(seen, actions, map(float, to_come), strict=True)]


def imitate(
    network: RatePolicy,
    samples: Sequence[Sample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> float:
    """One pass of cross-entropy and squared error of the value; returns the mean cross-entropy. See
    Recipe.
    """

    def loss_of(batch: Sequence[Sample]) -> tuple[Tensor, float]:
        obs = stack([sample.observation for sample in batch])
        encoded = network.encode(obs)
        scores = network.logits(encoded, obs)
        loss = nn.functional.cross_entropy(scores, torch.tensor([s.action for s in batch]))
        error = network.value(encoded) - torch.tensor([s.to_come for s in batch])
        return loss + VALUE_WEIGHT * (error**2).mean(), float(loss.detach())

    return one_pass(network, samples, optimizer, batch_size, rng, progress, loss_of)
