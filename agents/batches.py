"""Observations of one environment as batches, and a pass of gradient descent over samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

GREATEST_NORM = 1.0  # of a gradient
AnySample = TypeVar("AnySample")


def stack(observations: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """A batch of observations, padded to the largest of them along the first axis."""
    batch = {}
    for key in observations[0]:
        size = max(len(obs[key]) for obs in observations)
        batch[key] = torch.from_numpy(np.stack([pad(obs[key], size) for obs in observations]))
    return batch


def pad(array: np.ndarray, size: int) -> np.ndarray:
    """The array with zeros behind it, up to a size along the first axis."""
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
    """Descends the loss of each batch of samples once, in random order.

    Args:
        network: whose gradients are clipped; the optimizer's.
        samples: any number.
        optimizer: of the network.
        batch_size: samples of a batch; the last one may be smaller.
        rng: draws the order.
        loss_of: a batch -> its loss, and the figure to report of it, a mean over the batch.

    Returns:
        The mean of the figures over the samples.
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
    """One step down a loss, its gradient clipped."""
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), GREATEST_NORM)
    optimizer.step()


class Choice(NamedTuple):
    """An observation, the action to imitate, and the rewards that followed."""

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
    """One pass of cross-entropy and squared error of the value over the choices of a policy with
    discrete actions; returns the mean cross-entropy. See Recipe.
    """

    def loss_of(batch: Sequence[Choice]) -> tuple[Tensor, float]:
        obs = stack([sample.observation for sample in batch])
        encoded = network.encode(obs)
        scores = network.logits(encoded, obs)
        loss = nn.functional.cross_entropy(scores, torch.tensor([s.action for s in batch]))
        error = network.value(encoded) - torch.tensor([s.to_come for s in batch])
        return loss + (error**2).mean(), float(loss.detach())

    return one_pass(network, samples, optimizer, batch_size, rng, loss_of)
