"""Observations of one environment as batches, and a pass of gradient descent over samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

GREATEST_NORM = 1.0  # to which gradients are clipped
AnySample = TypeVar("AnySample")


def stack(observations: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Stack observations into one batch, padded with zeros to the largest along the first axis.

    Args:
        observations: B of them, with the same keys; key -> array [n, ...].

    Returns:
        key -> tensor [B, largest n, ...].
    """
    batch = {}
    for key in observations[0]:
        size = max(len(obs[key]) for obs in observations)
        batch[key] = torch.from_numpy(np.stack([pad(obs[key], size) for obs in observations]))
    return batch


def pad(array: np.ndarray, size: int) -> np.ndarray:
    """Append zeros along the first axis.

    Args:
        array: [n, ...].
        size: the length to reach, at least n.

    Returns:
        [size, ...]; `array` itself if it has that length.
    """
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])


def one_pass(
    network: nn.Module,
    samples: Sequence[AnySample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
    loss_of: Callable[[Sequence[AnySample]], tuple[Tensor, float]],
) -> float:
    """Descend the loss of each batch of samples once, in random order.

    Args:
        network: the network that is trained.
        samples: any number of samples.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step; the last batch may be smaller.
        rng: source of the order.
        loss_of: batch -> its loss, float32 [], and the figure to report, a mean over the batch.

    Returns:
        The mean of the figures over the samples; 0.0 without samples.
    """
    order = rng.permutation(len(samples))
    total = 0.0
    for first in range(0, len(order), batch_size):
        batch = [samples[i] for i in order[first : first + batch_size]]
        loss, figure = loss_of(batch)
        step(network, optimizer, loss)
        total += figure * len(batch)
    return total / max(1, len(samples))


def step(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one gradient step, with the gradient's norm clipped to GREATEST_NORM.

    Args:
        network: the network whose gradients are clipped.
        optimizer: optimizer of the network's parameters.
        loss: float32 []; the loss to descend.
    """
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), GREATEST_NORM)
    optimizer.step()


class Choice(NamedTuple):
    """A step of a demonstrated episode, for a policy with discrete actions.

    Attributes:
        observation: key -> array, as the environment returned it.
        action: the action to imitate.
        to_come: sum of the rewards from this step to the end of the episode, the value's target.
    """

    observation: dict[str, np.ndarray]
    action: int
    to_come: float


def imitate_choices(
    network: Any,
    samples: Sequence[Choice],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> float:
    """Train one pass by cross-entropy of the actions and squared error of the values.

    Args:
        network: a policy with `encode`, `logits` and `value`; see Recipe.
        samples: steps to imitate.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step.
        rng: source of the order of the samples.

    Returns:
        The mean cross-entropy of the actions.
    """

    def loss_of(batch: Sequence[Choice]) -> tuple[Tensor, float]:
        obs = stack([sample.observation for sample in batch])
        encoded = network.encode(obs)
        scores = network.logits(encoded, obs)
        loss = nn.functional.cross_entropy(scores, torch.tensor([s.action for s in batch]))
        error = network.value(encoded) - torch.tensor([s.to_come for s in batch])
        return loss + (error**2).mean(), float(loss.detach())

    return one_pass(network, samples, optimizer, batch_size, rng, loss_of)
