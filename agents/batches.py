"""Observations of one environment as batches, and a pass of gradient descent over samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

GREATEST_NORM = 1.0  # to which gradients are clipped
AnySample = TypeVar("AnySample")
Losses = dict[str, float]
"""Name of a part of the loss -> its mean over the samples."""


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
    loss_of: Callable[[Sequence[AnySample]], tuple[Tensor, Losses]],
) -> Losses:
    """Descend the loss of each batch of samples once, in random order.

    Args:
        network: the network that is trained.
        samples: any number of samples.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step; the last batch may be smaller.
        rng: source of the order.
        loss_of: batch -> its loss, float32 [], and the figures to report, means over the batch.

    Returns:
        The means of the figures over the samples; none without samples.
    """
    order = rng.permutation(len(samples))
    rows = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    return descend(network, samples, optimizer, rows, loss_of)


def descend(
    network: nn.Module,
    samples: Sequence[AnySample],
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Sequence[int] | np.ndarray],
    loss_of: Callable[[Sequence[AnySample]], tuple[Tensor, Losses]],
) -> Losses:
    """Descend the loss of each of the given batches once; see `one_pass`.

    Args:
        network: the network that is trained.
        samples: any number of samples.
        optimizer: optimizer of the network's parameters.
        batches: indices of the samples of each batch.
        loss_of: see `one_pass`.

    Returns:
        See `one_pass`.
    """
    total: Losses = {}
    for rows in batches:
        loss, figures = loss_of([samples[i] for i in rows])
        step(network, optimizer, loss)
        for name, figure in figures.items():
            total[name] = total.get(name, 0.0) + figure * len(rows)
    return {name: figure / len(samples) for name, figure in total.items()}


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
        to_come: discounted sum of the rewards from this step to the end of the episode, the
            value's target.
    """

    observation: dict[str, np.ndarray]
    action: int
    to_come: float


def returns(rewards: Sequence[float] | np.ndarray, discount: float) -> np.ndarray:
    """Return what is still to come at each step of an episode.

    Args:
        rewards: [T]; rewards of the steps.
        discount: factor of a reward for each step until it.

    Returns:
        float64 [T]; discounted sums of the rewards from each step to the last.
    """
    to_come = np.array(rewards, np.float64)
    for t in range(len(to_come) - 2, -1, -1):
        to_come[t] += discount * to_come[t + 1]
    return to_come


def value_error(values: Tensor, to_come: Sequence[float] | Tensor) -> Tensor:
    """Return the mean squared error of a policy's values, float32 [].

    Args:
        values: float32 [B]; as the network guesses them.
        to_come: [B]; as the demonstrated play gave them.
    """
    target = torch.as_tensor(to_come, dtype=values.dtype, device=values.device)
    return nn.functional.mse_loss(values, target)


def imitate_choices(
    network: Any,
    samples: Sequence[Choice],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Train one pass by cross-entropy of the actions and squared error of the values.

    Args:
        network: a policy with `encode`, `logits` and `value`; see Recipe.
        samples: steps to imitate.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step.
        rng: source of the order of the samples.

    Returns:
        "loss", the mean cross-entropy of the actions; "value_loss", the values' squared error.
    """

    def loss_of(batch: Sequence[Choice]) -> tuple[Tensor, Losses]:
        obs = stack([sample.observation for sample in batch])
        encoded = network.encode(obs)
        scores = network.logits(encoded, obs)
        loss = nn.functional.cross_entropy(scores, torch.tensor([s.action for s in batch]))
        error = value_error(network.value(encoded), [s.to_come for s in batch])
        return loss + error, {"loss": loss.item(), "value_loss": error.item()}

    return one_pass(network, samples, optimizer, batch_size, rng, loss_of)
