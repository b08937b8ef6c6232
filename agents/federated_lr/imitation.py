"""Warm start of the rate policy from a controller: at each of its steps, the discrete action
nearest to its rates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.budget import Budget
from ...core.contracts import Solver
from ...core.errors import SettingError
from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Federation
from ...envs.federated_lr.env import FederatedLREnv
from ...envs.federated_lr.grid import mask_of, nearest_action
from ...envs.federated_lr.orders import ALPHA, BETA, rate_of
from ..batches import Choice
from .network import RatePolicy


def lessons(
    network: RatePolicy,
    instances: Sequence[Federation],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Choice]:
    """The steps of a controller's episodes, one an instance; see Recipe. States of own play are not
    used.
    """
    if solver is None:
        raise SettingError("imitation.contender: name the controller that is imitated")
    samples: list[Choice] = []
    for federation in instances:
        samples += demonstrate(federation, solver(federation, budget, 0).actions, 0)
    return samples


def demonstrate(federation: Federation, orders: np.ndarray, seed: int) -> list[Choice]:
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
    return [Choice(*parts) for parts in zip(seen, actions, map(float, to_come), strict=True)]
