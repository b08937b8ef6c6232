"""Distributions over actions that are not one choice among few: continuous ones, and joint ones.

RLlib's modules name the distribution of their outputs; `distribution_of` finds the one that fits an
action space and a network, and `action_inputs` computes what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchDeterministic,
    TorchSquashedGaussian,
)
from torch import Tensor
from torch.nn.functional import softplus

from ..core.lookup import resolve

Choose = Callable[[Tensor], Tensor]
"""Logits of the first part of joint actions, float32 [B, N] -> the choice, int64 [B]."""

# Nodes and weights by which a mean over a normal variable is computed; 32 suffice for six digits
# where the scale is at most e.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS /= _WEIGHTS.sum()


class SquashedGaussian(TorchSquashedGaussian):
    """Normal variables squashed into -1..1 by tanh, each independent of the others.

    RLlib's distribution has neither entropy nor divergence, which PPO asks for, and its
    deterministic form leaves out the squashing.
    """

    def entropy(self) -> Tensor:
        """Return the differential entropy, float32 [B], by Gauss-Hermite quadrature."""
        nodes = self.loc.new_tensor(_NODES)
        at = self.loc.unsqueeze(-1) + self._dist.scale.unsqueeze(-1) * nodes
        log_slope = 2.0 * (np.log(2.0) - at - softplus(-2.0 * at))
        mean_log_slope = (log_slope * self.loc.new_tensor(_WEIGHTS)).sum(-1)
        total: Tensor = (self._dist.entropy() + mean_log_slope).sum(-1)
        return total

    def kl(self, other: SquashedGaussian) -> Tensor:
        """Return the divergence from another one, float32 [B]: that of the normal variables."""
        apart: Tensor = torch.distributions.kl.kl_divergence(self._dist, other._dist).sum(-1)
        return apart

    def to_deterministic(self) -> TorchDeterministic:
        """Return the squashed mean."""
        return TorchDeterministic(loc=torch.tanh(self.loc))


class TwoStage(Distribution):
    """Joint actions of two parts, the second of which depends on the first.

    The inputs hold the logits of the first part, the first part that was chosen, and the logits of
    the second part given that choice: a table of the second part for every first one would not fit
    into memory where there are thousands. So the first part of a sample is chosen where the inputs
    are computed (`action_inputs`), and log-probabilities are exact for actions with that first
    part. Entropy and divergence add that of the second part given the choice to that of the first;
    their mean over choices made by the policy is exact.
    """

    def __init__(self, first: TorchCategorical, chosen: Tensor, second: TorchCategorical) -> None:
        """Take the parts.

        Args:
            first: distribution of the first part, [B].
            chosen: int64 [B]; the first part chosen.
            second: distribution of the second part given that choice, [B].
        """
        super().__init__()
        self.first, self.chosen, self.second = first, chosen, second

    @classmethod
    def from_logits(cls, logits: Tensor, sizes: tuple[int, int], **kwargs: Any) -> TwoStage:
        """Make it of what `action_inputs` returned.

        Args:
            logits: float32 [B, N + 1 + M].
            sizes: N and M, the numbers of choices of the two parts.
            **kwargs: not read.
        """
        first, chosen, second = torch.split(logits, [sizes[0], 1, sizes[1]], dim=-1)
        return cls(
            TorchCategorical(logits=first),
            chosen.squeeze(-1).round().long(),
            TorchCategorical(logits=second),
        )

    @staticmethod
    def required_input_dim(space: gym.Space[Any], **kwargs: Any) -> int:
        """Return the length of the inputs for a MultiDiscrete space of two parts."""
        assert isinstance(space, gym.spaces.MultiDiscrete)
        return int(space.nvec.sum()) + 1

    def sample(self, **kwargs: Any) -> Tensor:
        """Draw the second part: int64 [B, 2]."""
        return torch.stack([self.chosen, self.second.sample()], dim=-1)

    def rsample(self, **kwargs: Any) -> Tensor:
        """Refuse: choices have no gradient.

        Raises:
            TypeError: always.
        """
        raise TypeError("joint choices cannot be reparameterized")

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        """Return log-probabilities of actions whose first part is the chosen one, float32 [B].

        Args:
            value: int64 [B, 2].
            **kwargs: not read.
        """
        value = value.long()
        both: Tensor = self.first.logp(value[..., 0]) + self.second.logp(value[..., 1])
        return both

    def entropy(self, **kwargs: Any) -> Tensor:
        """Return the first part's entropy plus the second's given the choice, float32 [B]."""
        total: Tensor = self.first.entropy() + self.second.entropy()
        return total

    def kl(self, other: TwoStage, **kwargs: Any) -> Tensor:
        """Return the divergence from another one with the same choice, float32 [B]."""
        apart: Tensor = self.first.kl(other.first) + self.second.kl(other.second)
        return apart

    def to_deterministic(self) -> TorchDeterministic:
        """Return the choice with the likeliest second part."""
        second = self.second.logits.argmax(dim=-1)
        return TorchDeterministic(loc=torch.stack([self.chosen, second], dim=-1))


def is_two_stage(network: Any, space: gym.Space[Any]) -> bool:
    """Whether a network chooses the two parts of a space's actions one after the other.

    Args:
        network: with "first_logits" and "second_logits" if it can.
        space: the action space.
    """
    return isinstance(space, gym.spaces.MultiDiscrete) and hasattr(network, "second_logits")


def distribution_of(network: Any, space: gym.Space[Any]) -> type[Distribution]:
    """Return the distribution whose inputs `action_inputs` computes.

    Args:
        network: a family's policy network; it may name a distribution of its own by the entry point
            `distribution`.
        space: the action space.
    """
    found: type[Distribution]
    own = getattr(network, "distribution", "")
    if own:
        found = resolve(own)
        return found
    if is_two_stage(network, space):
        sizes = tuple(map(int, space.nvec))  # type: ignore[attr-defined]
        found = TwoStage.get_partial_dist_cls(sizes=sizes)
    elif isinstance(space, gym.spaces.Box):
        found = SquashedGaussian
    else:
        found = TorchCategorical
    return found


def drawn(logits: Tensor) -> Tensor:
    """Draw a first part by its probabilities; see Choose."""
    choice: Tensor = torch.distributions.Categorical(logits=logits, validate_args=False).sample()
    return choice


def likeliest(logits: Tensor) -> Tensor:
    """Take the likeliest first part; see Choose."""
    return logits.argmax(dim=-1)


def taken(batch: dict[str, Any]) -> Choose:
    """Return the first parts that a batch's actions have; the likeliest if it has no actions.

    Args:
        batch: RLlib's batch.
    """
    actions = batch.get(Columns.ACTIONS)
    return likeliest if actions is None else lambda logits: actions[..., 0].long()


def action_inputs(
    network: Any,
    space: gym.Space[Any],
    encoded: Any,
    observation: dict[str, Tensor],
    choose: Choose,
) -> Tensor:
    """Compute what the action distribution is made of.

    Args:
        network: a family's policy network.
        space: the action space.
        encoded: `network.encode(observation)`.
        observation: B observations.
        choose: chooses the first part of joint actions: `drawn`, `likeliest`, or `taken(batch)`.

    Returns:
        float32 [B, N]: `network.logits`, or where `is_two_stage` the inputs of TwoStage.
    """
    if not is_two_stage(network, space):
        logits: Tensor = network.logits(encoded, observation)
        return logits
    first = network.first_logits(encoded, observation)
    chosen = choose(first)
    second = network.second_logits(encoded, observation, chosen)
    return torch.cat([first, chosen.to(first.dtype).unsqueeze(-1), second], dim=-1)
