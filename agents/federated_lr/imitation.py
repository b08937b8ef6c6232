"""Warm start of the rate policy from a controller.

At each of the controller's steps, the sample is the discrete action nearest to its rates.
"""

from __future__ import annotations

import numpy as np

from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Federation
from ...envs.federated_lr.env import FederatedLREnv
from ...envs.federated_lr.grid import mask_of, nearest_action
from ...envs.federated_lr.orders import ALPHA, BETA, rate_of
from ..batches import Choice, returns
from ..recipe import ImitationPass
from .network import RatePolicy


def lessons(imitation: ImitationPass[RatePolicy, Federation]) -> list[Choice]:
    """Return the steps of a controller's episodes, one episode per instance; see Recipe."""
    samples: list[Choice] = []
    for federation in imitation.instances:
        samples += demonstrate(federation, imitation.plan(federation), 0, imitation.discount)
    return samples


def demonstrate(
    federation: Federation, orders: np.ndarray, seed: int, discount: float = 1.0
) -> list[Choice]:
    """Play an episode and return its steps as choices of the discrete policy.

    Args:
        federation: the instance.
        orders: int64 [steps, 5], the order of every step, in the environment's form "orders".
        seed: the world's.
        discount: of the rewards to come.
    """
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
    to_come = returns(rewards, discount).tolist()
    return [Choice(*parts) for parts in zip(seen, actions, to_come, strict=True)]
