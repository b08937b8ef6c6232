"""REINFORCE on a proxy (Williams 1992), as in Design-Bench.

The policy is a categorical distribution at each position, initialized from the start pool (Trabucco
et al. 2022, arXiv 2202.08450).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import repaired, starting_designs
from ...methods.sequence_design.adam import Adam
from ...methods.sequence_design.in_rounds import InRounds
from ...methods.sequence_design.pool import Pool, fit_proxy_in_half_the_time, out_of_time
from ...methods.sequence_design.sequences import one_hot

RATE = 0.05  # step size on the logits
BATCH = 256  # sequences an iteration
ITERATIONS = 200  # before training begins again
SMOOTHING = 1.0  # added to the letter counts of the start pool
BARRED = 1e-12  # count of a letter that the rules bar at a position


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Train policy after policy by REINFORCE (Williams 1992) until the budget ends.

    Infeasible samples count as the worst feasible one of their batch; where the task has rules,
    they are repaired.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one sampled sequence.
        seed: draws the proxy's training and the samples.

    Returns:
        The best batch sampled, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    counts = one_hot(instance, starting_designs(instance)).sum(axis=0) + SMOOTHING
    counts = np.where(instance.barred, BARRED, counts)
    while not out_of_time(clock):
        _train(instance, pool, np.log(counts / counts.sum(axis=1, keepdims=True)), rng)
    return pool.solution()


def _train(task: DesignTask, pool: Pool, logits: np.ndarray, rng: np.random.Generator) -> None:
    """Train one policy from logits [L, V] for ITERATIONS, or until time is up."""
    adam = Adam()
    for _ in range(ITERATIONS):
        if out_of_time(pool.clock):
            break
        gumbel = rng.gumbel(size=(BATCH, *logits.shape))
        tokens = repaired(task, (logits + gumbel).argmax(axis=2).astype(np.int8), rng)
        values = pool.add(tokens)
        finite = np.isfinite(values)
        if not finite.any():
            continue
        values = np.where(finite, values, values[finite].min())
        advantage = (values - values.mean()) / (values.std() + 1e-8)
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        slope = np.einsum("n,nlv->lv", advantage, one_hot(task, tokens) - chances) / BATCH
        logits = logits + RATE * adam.direction(slope)


in_rounds = partial(InRounds, solve)
