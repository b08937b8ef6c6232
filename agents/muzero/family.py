"""Wrap a family's policy network as MuZero's network.

The family's `encode`, `logits` and `value` predict from observations, so a policy trained by
imitation or PPO is where MuZero starts, and what it trains is exported as theirs is. Added are a
head for the logits of the value, and dynamics, which a known model does not need.

The family's own value is one number. The logits begin as a wide normal distribution around it, to
which the head adds; both learn by the cross-entropy. The width is what balances the loss: the
gradient that the number passes on is its error over the square of the width, so that a distribution
one bin wide of 101 gives hundreds of times the policy's gradient in the layers that the two share.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from ..recipe import load_recipe
from .networks import Observation, Root, Step, Support, head

FIRST_SPREAD = 0.1  # of the value's first distribution, in parts of its support's width


class FamilyNetwork(nn.Module):
    """A family's policy with MuZero's dynamics; see networks.Network.

    Args:
        observation_space: observation space of the family's environment.
        n_actions: actions of that environment.
        value_support: support of the values.
        reward_support: support of the rewards.
        family: name of the family.
        width: width of its network.
        recipe: entry point of the recipe that makes the network, "" for the family's own.
        weights: state dict of the family's network to start from, or None.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        n_actions: int,
        value_support: Support,
        reward_support: Support,
        family: str,
        width: int,
        recipe: str = "",
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.policy = load_recipe(family, recipe).network(width)
        if weights is not None:
            self.policy.load_state_dict(weights)
        self.value_support = value_support
        self.value = head(width, value_support.bins)
        self.action = nn.Embedding(n_actions, width)
        self.change = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.reward = head(width, reward_support.bins)
        self.next_policy = head(width, n_actions)
        self.next_value = head(width, value_support.bins)

    def initial(self, observation: Observation) -> Root:
        """Predict from B observations; the latent state is the encoding's context.

        Returns:
            latent float32 [B, width], logits float32 [B, A], value logits float32 [B, bins].
        """
        encoded = self.policy.encode(observation)
        first = self.value_support.around(self.policy.value(encoded), FIRST_SPREAD)
        value = first + self.value(encoded.context)
        return Root(encoded.context, self.policy.logits(encoded, observation), value)

    def recurrent(self, latent: Tensor, action: Tensor) -> Step:
        """Take actions in latent states; see networks.Network.

        Args:
            latent: float32 [B, width].
            action: int64 [B].

        Returns:
            latent float32 [B, width], reward and value logits float32 [B, bins], logits float32 [B,
            A].
        """
        latent = torch.relu(latent + self.change(latent + self.action(action)))
        return Step(latent, self.reward(latent), self.next_policy(latent), self.next_value(latent))
