"""The distribution of whole orders: both rates, and one of a few for each rule."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import torch
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchDeterministic,
)
from torch import Tensor

from ...envs.federated_lr.orders import SIZES
from ..distributions import SquashedGaussian
from .network import ORDER_PARTS, codes_of, squashed_of

# Logarithm of the widths in -1..1 of both rates' codes.
LOG_WIDTHS = sum(math.log(2.0 / (size - 1)) for size in SIZES[:2])


class OrderDistribution(Distribution):
    """Orders, int64 [B, 5], whose parts are independent of each other.

    The rates' millions of codes are so fine that a code's probability is the density of a squashed
    normal variable times the code's width. Server rules are those with their usual tau.
    """

    def __init__(self, rates: SquashedGaussian, rules: list[TorchCategorical]) -> None:
        """Take the parts.

        Args:
            rates: of how far both rates lie in their ranges, in logarithms.
            rules: of server rule, local rule and checkpoint.
        """
        super().__init__()
        self.rates, self.rules = rates, rules

    @classmethod
    def from_logits(cls, logits: Tensor, **kwargs: Any) -> OrderDistribution:
        """Make it of the outputs of OrderPolicy, float32 [B, sum of ORDER_PARTS]."""
        rates, *rules = torch.split(logits, list(ORDER_PARTS), dim=-1)
        return cls(
            SquashedGaussian.from_logits(rates), [TorchCategorical(logits=rule) for rule in rules]
        )

    @staticmethod
    def required_input_dim(space: gym.Space[Any], **kwargs: Any) -> int:
        """Return the length of the inputs."""
        return sum(ORDER_PARTS)

    def sample(self, **kwargs: Any) -> Tensor:
        """Draw orders, int64 [B, 5]."""
        rules = torch.stack([rule.sample() for rule in self.rules], dim=-1)
        return torch.cat([codes_of(self.rates.sample()), rules], dim=-1)

    def rsample(self, **kwargs: Any) -> Tensor:
        """Refuse: orders are whole numbers.

        Raises:
            TypeError: always.
        """
        raise TypeError("orders cannot be reparameterized")

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        """Return the log-probabilities of orders, int64 [B, 5]: float32 [B]."""
        total: Tensor = self.rates.logp(squashed_of(value[..., :2])) + LOG_WIDTHS
        for column, rule in enumerate(self.rules, 2):
            total = total + rule.logp(value[..., column].long())
        return total

    def entropy(self, **kwargs: Any) -> Tensor:
        """Return the entropy, float32 [B]."""
        total: Tensor = self.rates.entropy() - LOG_WIDTHS
        for rule in self.rules:
            total = total + rule.entropy()
        return total

    def kl(self, other: OrderDistribution, **kwargs: Any) -> Tensor:
        """Return the divergence from another one, float32 [B]."""
        total = self.rates.kl(other.rates)
        for rule, of_other in zip(self.rules, other.rules, strict=True):
            total = total + rule.kl(of_other)
        return total

    def to_deterministic(self) -> TorchDeterministic:
        """Return the orders of the squashed mean and the likeliest rules."""
        rules = torch.stack([rule.logits.argmax(dim=-1) for rule in self.rules], dim=-1)
        rates = codes_of(torch.tanh(self.rates.loc))
        return TorchDeterministic(loc=torch.cat([rates, rules], dim=-1))
