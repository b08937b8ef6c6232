"""Gradient ascent on the proxy through straight-through letters (Bengio et al. 2013, arXiv
1308.3432), the "Grad" of Design-Bench (Trabucco et al. 2022, arXiv 2202.08450) on the mean of an
ensemble. Uses numpy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.proxy import Ensemble
from .common import Pool, decode, learn, one_hot, out_of_time

RATE = 0.1
STEPS = 200
SHARPNESS = 2.0  # logits of a start's own letters at first
NOISE = 0.5  # of the first logits, from the second pass on
BETA1, BETA2 = 0.9, 0.999


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Climbs from the start pool with Adam, pass after pass, noise on the first logits from the
    second on, and hands in the best of all sequences met; one evaluation is one of them.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, learn(instance, clock, rng), clock)
    climb_until_the_end(instance, pool, rng)
    return pool.solution()


def climb_until_the_end(task: DesignTask, pool: Pool, rng: np.random.Generator) -> None:
    """Pass after pass from the start pool on the pool's proxy."""
    first = SHARPNESS * one_hot(task, task.sequences[task.starts])
    noise = 0.0
    while not out_of_time(pool.clock):
        draws = rng.normal(0.0, 1.0, first.shape).astype(np.float32)
        for tokens in climb(task, pool.proxy, first + noise * draws, STEPS):
            pool.add(tokens)
            if out_of_time(pool.clock):
                break
        noise = NOISE


def climb(
    task: DesignTask, proxy: Ensemble, logits: np.ndarray, steps: int
) -> Iterator[np.ndarray]:
    """Yields the sequences int8 [n, L] that logits [n, L, V] stand for, step after step."""
    mean, square = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(1, steps + 1):
        tokens = decode(task, logits)
        yield tokens
        slope = gradient(task, proxy, tokens, logits)
        mean = BETA1 * mean + (1 - BETA1) * slope
        square = BETA2 * square + (1 - BETA2) * slope**2
        scale = RATE * np.sqrt(1 - BETA2**step) / (1 - BETA1**step)
        logits = logits + scale * mean / (np.sqrt(square) + 1e-8)


def gradient(
    task: DesignTask, proxy: Ensemble, tokens: np.ndarray, logits: np.ndarray
) -> np.ndarray:
    """Gradient float32 [n, L, V] of the ensemble's mean by the logits: the forward pass sees whole
    letters, the backward pass goes through the softmax.
    """
    hard = one_hot(task, tokens)
    _, slopes = proxy.slopes(hard.reshape(len(tokens), -1))
    slope = slopes.mean(axis=0).reshape(hard.shape)
    soft = np.exp(logits - logits.max(axis=2, keepdims=True))
    soft /= soft.sum(axis=2, keepdims=True)
    through: np.ndarray = soft * (slope - (soft * slope).sum(axis=2, keepdims=True))
    return through
