"""Climb a proxy's gradient through straight-through letters (Bengio et al. 2013, arXiv
1308.3432).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ...datasets.sequence_design.instance import DesignTask
from .adam import RATE, Adam, adaptive_rates
from .pool import Pool, out_of_time
from .sequences import decode, one_hot

STEPS = 200
SHARPNESS = 2.0  # logits of a start's own letters at first
NOISE = 0.5  # of the first logits, from the second pass on


class Differentiable(Protocol):
    """A proxy with a gradient."""

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        """Differentiate the sum of the means by soft letters, float32 [n, L, V]."""
        ...


def climb_until_the_end(
    task: DesignTask,
    pool: Pool,
    proxy: Differentiable,
    rng: np.random.Generator,
    soft: bool = False,
    auxiliary: Differentiable | None = None,
) -> None:
    """Climb from the task's start pool, pass after pass, until the pool's clock runs out.

    The first pass starts at the designs themselves, later ones at noisy logits.

    Args:
        task: the task.
        pool: keeps the best of the sequences met.
        proxy: what is climbed.
        rng: draws the noise.
        soft: whether the proxy sees the softmax's letters, not whole ones.
        auxiliary: what Adaptive-eta sets each candidate's rate by; see `climb`.
    """
    first = SHARPNESS * one_hot(task, task.sequences[task.starts])
    noise = 0.0
    while not out_of_time(pool.clock):
        draws = rng.normal(0.0, 1.0, first.shape).astype(np.float32)
        for tokens in climb(task, proxy, first + noise * draws, STEPS, soft, auxiliary):
            pool.add(tokens)
            if out_of_time(pool.clock):
                break
        noise = NOISE


def climb(
    task: DesignTask,
    proxy: Differentiable,
    logits: np.ndarray,
    steps: int,
    soft: bool = False,
    auxiliary: Differentiable | None = None,
) -> Iterator[np.ndarray]:
    """Climb a proxy with Adam, through straight-through letters.

    Args:
        task: its banned pairs are respected.
        proxy: what is climbed.
        logits: float [n, L, V]; where to start.
        steps: number of steps of Adam.
        soft: whether the proxy sees the softmax's letters, not whole ones.
        auxiliary: what Adaptive-eta sets each candidate's rate by, from the second step on; without
            it the rate is RATE.

    Yields:
        The sequences int8 [n, L] that the logits stand for, step after step.
    """
    adam = Adam()
    for step in range(steps):
        tokens = decode(task, logits)
        yield tokens
        direction = adam.direction(gradient(task, proxy, tokens, logits, soft))
        rate: float | np.ndarray = RATE
        if auxiliary is not None and step > 0:
            rate = adaptive_rates(gradient(task, auxiliary, tokens, logits, soft), direction)
        logits = logits + rate * direction


def gradient(
    task: DesignTask,
    proxy: Differentiable,
    tokens: np.ndarray,
    logits: np.ndarray,
    soft: bool = False,
) -> np.ndarray:
    """Differentiate the proxy's mean by the logits, the backward pass going through the softmax.

    Args:
        task: the task.
        proxy: the proxy.
        tokens: int8 [n, L]; whole letters, which the forward pass sees unless `soft`.
        logits: float [n, L, V].
        soft: whether the forward pass sees the softmax's letters.

    Returns:
        float [n, L, V].
    """
    chances = np.exp(logits - logits.max(axis=2, keepdims=True))
    chances /= chances.sum(axis=2, keepdims=True)
    letters = chances if soft else one_hot(task, tokens)
    slope = proxy.gradient(letters.astype(np.float32))
    through: np.ndarray = chances * (slope - (chances * slope).sum(axis=2, keepdims=True))
    return through
