"""Gradient ascent on a proxy through straight-through letters.

After Bengio et al. 2013 (arXiv 1308.3432).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import starting_designs
from .adam import RATE, Adam, adaptive_rates
from .pool import Pool, affordable_rows, out_of_time
from .sequences import decode, one_hot

STEPS = 200  # of Adam, a pass
SHARPNESS = 2.0  # first logit of a start's own letters; the others begin at 0
NOISE = 0.5  # standard deviation on the first logits, from the second pass on


class Differentiable(Protocol):
    """A proxy with a gradient."""

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        """Differentiate the sum of the predictions by relaxed letters, float32 [n, L, V] both."""
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

    The first pass starts at the designs themselves, later ones at noisy logits. Of long sequences,
    whose gradients take long, only as many starts are climbed at a time as the clock allows.

    Args:
        task: the task.
        pool: scores every sequence on the way and keeps the best; its clock ends the search.
        proxy: the function to climb.
        rng: draws the noise on the first logits.
        soft: whether the proxy reads the softmax of the logits rather than whole letters.
        auxiliary: proxy that sets each candidate's step size by Adaptive-eta; None for RATE
            throughout.
    """
    starts = starting_designs(task)
    most = affordable_rows(one_hot(task, starts), proxy.gradient, pool.clock)
    groups = [starts[at : at + most] for at in range(0, len(starts), most)]
    for number, group in enumerate(itertools.cycle(groups)):
        if out_of_time(pool.clock):
            break
        first = SHARPNESS * one_hot(task, group)
        draws = rng.normal(0.0, 1.0, first.shape).astype(np.float32)
        noise = NOISE if number >= len(groups) else 0.0
        for tokens in climb(task, proxy, first + noise * draws, STEPS, soft, auxiliary):
            pool.add(tokens)
            if out_of_time(pool.clock):
                break


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
        task: the task; sequences with its banned pairs are avoided.
        proxy: the function to climb.
        logits: float [n, L, V]; where to start.
        steps: number of steps of Adam.
        soft: whether the proxy reads the softmax of the logits rather than whole letters.
        auxiliary: proxy that sets each candidate's step size by Adaptive-eta, from the second step
            on; None for RATE throughout.

    Yields:
        The feasible sequences int8 [n, L] that the logits prefer, before each step.
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
    """Differentiate a proxy by logits; the backward pass always goes through the softmax.

    Args:
        task: the task.
        proxy: the function to differentiate.
        tokens: int8 [n, L]; whole letters, which the forward pass reads unless `soft`.
        logits: float [n, L, V].
        soft: whether the forward pass reads the softmax of the logits.

    Returns:
        Gradient of each candidate's prediction by its logits, float [n, L, V].
    """
    chances = np.exp(logits - logits.max(axis=2, keepdims=True))
    chances /= chances.sum(axis=2, keepdims=True)
    letters = chances if soft else one_hot(task, tokens)
    slope = proxy.gradient(letters.astype(np.float32))
    through: np.ndarray = chances * (slope - (chances * slope).sum(axis=2, keepdims=True))
    return through
