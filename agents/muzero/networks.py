"""MuZero's networks: what the search asks of one, its categorical values, and a small default.

A network maps an observation to a latent state and predicts how an action changes it. Values and
rewards are categorical over a fixed support (MuZero, appendix F): the network gives logits, a
`Support` turns them into numbers and numbers into targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import torch
from gymnasium.spaces import flatdim
from torch import Tensor, nn

from ...core.errors import SettingError

CURVE = 0.001  # epsilon of the value transform h

# A Box is a tensor, a Dict of Boxes a dict of tensors; the first axis is the batch.
Observation = Any


class Root(NamedTuple):
    """Prediction from B observations.

    Attributes:
        latent: float32 [B, ...]; latent states.
        logits: float32 [B, A]; logits of the policy.
        value: float32 [B, bins]; logits of the value; of Scalars, values [B].
    """

    latent: Tensor
    logits: Tensor
    value: Tensor


class Step(NamedTuple):
    """Prediction from B latent states and actions.

    Attributes:
        latent: float32 [B, ...]; the next latent states.
        reward: float32 [B, bins]; logits of the step's reward; of Scalars, rewards [B].
        logits: float32 [B, A]; logits of the policy in the next states.
        value: float32 [B, bins]; logits of their value; of Scalars, values [B].
    """

    latent: Tensor
    reward: Tensor
    logits: Tensor
    value: Tensor


class Network(Protocol):
    """A MuZero network; a torch module."""

    def initial(self, observation: Observation) -> Root:
        """Represent B observations as latent states and predict from these."""
        ...

    def recurrent(self, latent: Tensor, action: Tensor) -> Step:
        """Take actions in latent states and predict from the next ones.

        Args:
            latent: float32 [B, ...]; latent states.
            action: int64 [B].
        """
        ...


# (observation space, number of actions, support of values, support of rewards, network_config as
# keywords) -> a torch module that is a Network.
Factory = Callable[..., nn.Module]


class Support(nn.Module):
    """Bins evenly spaced between two numbers after a transform that compresses large ones.

    The transform is h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x (MuZero, appendix F).

    Attributes:
        atoms: float32 [bins]; the transformed numbers that the bins stand for.
        bins: number of bins.
    """

    def __init__(self, low: float, high: float, bins: int) -> None:
        """Make the bins.

        Args:
            low: the least number.
            high: the greatest number.
            bins: number of bins, at least 2.

        Raises:
            SettingError: there is no such support.
        """
        super().__init__()
        if not low < high or bins < 2:
            raise SettingError(
                f"support ({low}, {high}, {bins}): give the least number, a greater one, and at "
                "least 2 bins"
            )
        ends = transform(torch.tensor([low, high], dtype=torch.float64))
        atoms = torch.linspace(float(ends[0]), float(ends[1]), bins, dtype=torch.float32)
        self.register_buffer("atoms", atoms, persistent=False)
        self.bins = bins

    atoms: Tensor

    def expected(self, logits: Tensor) -> Tensor:
        """Return the numbers [...] that logits [..., bins] stand for."""
        return restore((logits.softmax(-1) * self.atoms).sum(-1))

    def target(self, numbers: Tensor) -> Tensor:
        """Return probabilities [..., bins] on the two bins around numbers [...], their means."""
        low, high = self.atoms[0], self.atoms[-1]
        place = (transform(numbers).clamp(low, high) - low) / (high - low) * (self.bins - 1)
        below = place.floor().clamp(max=self.bins - 2)
        share = (place - below).unsqueeze(-1)
        index = below.long().unsqueeze(-1)
        target = torch.zeros(*numbers.shape, self.bins, device=numbers.device)
        return target.scatter(-1, index, 1 - share).scatter(-1, index + 1, share)

    def outside(self, numbers: Tensor) -> Tensor:
        """Return bool [...]: which numbers [...] lie beyond the support, rounding aside."""
        place = transform(numbers.double())
        slack = 1e-5 * (self.atoms[-1] - self.atoms[0])
        return (place < self.atoms[0] - slack) | (place > self.atoms[-1] + slack)

    def around(self, numbers: Tensor, spread: float) -> Tensor:
        """Return logits [..., bins] of normal distributions around numbers.

        Args:
            numbers: float32 [...].
            spread: their standard deviation, in parts of the support's width.
        """
        apart = transform(numbers).unsqueeze(-1) - self.atoms
        return -0.5 * (apart / (spread * (self.atoms[-1] - self.atoms[0]))) ** 2

    def loss(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Return the cross-entropy of logits to numbers, float32 [...].

        Args:
            logits: float32 [..., bins].
            numbers: float32 [...].
        """
        return -(self.target(numbers) * logits.log_softmax(-1)).sum(-1)


def transform(numbers: Tensor) -> Tensor:
    """Apply h to numbers [...]; see Support."""
    return numbers.sign() * ((numbers.abs() + 1).sqrt() - 1) + CURVE * numbers


def restore(numbers: Tensor) -> Tensor:
    """Apply the inverse of h to numbers [...]; see Support."""
    root = (1 + 4 * CURVE * (numbers.abs() + 1 + CURVE)).sqrt() - 1
    return numbers.sign() * ((root / (2 * CURVE)) ** 2 - 1)


class Scalars:
    """A network with numbers for its values and rewards, as the search needs them.

    Attributes:
        network: the network.
        value, reward: supports of its values and rewards.
    """

    def __init__(self, network: Network, value: Support, reward: Support) -> None:
        self.network, self.value, self.reward = network, value, reward

    def initial(self, observation: Observation) -> Root:
        """Predict from B observations; the root's value is float32 [B]."""
        root = self.network.initial(observation)
        return root._replace(value=self.value.expected(root.value))

    def recurrent(self, latent: Tensor, action: Tensor) -> Step:
        """Take actions in latent states; the step's reward and value are float32 [B].

        Args:
            latent: float32 [B, ...]; latent states.
            action: int64 [B].
        """
        step = self.network.recurrent(latent, action)
        return step._replace(
            reward=self.reward.expected(step.reward), value=self.value.expected(step.value)
        )


def mask_of(observation: Observation) -> Tensor | None:
    """Return the action mask of B observations, bool [B, A]; None if they have none."""
    if isinstance(observation, dict) and "action_mask" in observation:
        mask: Tensor = observation["action_mask"] > 0
        return mask
    return None


class MLP(nn.Module):
    """Small fully connected network for observations of plain numbers.

    Args:
        observation_space: a Box or a Dict of Boxes; an action mask in it is ignored.
        n_actions: number A of actions.
        value_support: support of the values.
        reward_support: support of the rewards.
        width: of every hidden layer and of the latent state.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        n_actions: int,
        value_support: Support,
        reward_support: Support,
        width: int = 64,
    ) -> None:
        super().__init__()
        spaces = getattr(observation_space, "spaces", {"": observation_space})
        size = sum(flatdim(space) for key, space in spaces.items() if key != "action_mask")
        self.represent = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width))
        self.action = nn.Embedding(n_actions, width)
        self.change = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.reward = head(width, reward_support.bins)
        self.policy = head(width, n_actions)
        self.value = head(width, value_support.bins)

    def initial(self, observation: Observation) -> Root:
        """Predict from observations, tensors [B, ...]; the latent states are float32 [B, width]."""
        parts = observation if isinstance(observation, dict) else {"": observation}
        flat = [part.flatten(1).float() for key, part in parts.items() if key != "action_mask"]
        latent = _scaled(self.represent(torch.cat(flat, dim=1)))
        return Root(latent, self.policy(latent), self.value(latent))

    def recurrent(self, latent: Tensor, action: Tensor) -> Step:
        """Take actions in latent states; see Network.

        Args:
            latent: float32 [B, width].
            action: int64 [B].
        """
        latent = _scaled(latent + self.change(latent + self.action(action)))
        return Step(latent, self.reward(latent), self.policy(latent), self.value(latent))


def head(width: int, size: int) -> nn.Module:
    """Make a head of two layers, whose outputs are all 0 before training.

    Args:
        width: inputs, and hidden units.
        size: outputs.

    Returns:
        A module: float32 [..., width] -> [..., size].
    """
    last = nn.Linear(width, size)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), last)


def _scaled(latent: Tensor) -> Tensor:
    """Scale latent states [B, width] to [0, 1] in every row (MuZero, appendix G)."""
    low, high = latent.amin(-1, keepdim=True), latent.amax(-1, keepdim=True)
    return (latent - low) / (high - low).clamp(min=1e-5)
