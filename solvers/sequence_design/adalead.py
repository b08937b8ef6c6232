"""AdaLead on a proxy (Sinai et al. 2020, arXiv 2010.02141, algorithm 1).

Each round takes as parents all designs with nearly the best value so far, recombines them, and
rolls out every child by mutation for as long as it does not fall below its root. Offline, a round's
measurements are the proxy's predictions; rounds are run until the budget ends.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import repaired
from ...methods.sequence_design.in_rounds import InRounds
from ...methods.sequence_design.pool import Pool, fit_proxy_in_half_the_time, out_of_time
from ...methods.sequence_design.sequences import offspring

THRESHOLD = 0.05  # kappa: parents score at least (1 - kappa) of the best
MUTATIONS = 1.0  # mu: letters changed a step, on average
RECOMBINATION = 0.2  # probability to switch to the other parent at a letter
ROLLOUTS = 16  # from each parent, a round
MOST_STEPS = 64  # of a rollout


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run AdaLead (Sinai et al. 2020, algorithm 1) on a proxy until the budget ends.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training, the recombinations and the mutations.

    Returns:
        The best batch met, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    while not out_of_time(clock):
        best = pool.values[0]
        near = pool.tokens[pool.values >= best * (1.0 - np.sign(best) * THRESHOLD)]
        parents = np.resize(near, (instance.batch_size, instance.length))
        for _ in range(ROLLOUTS):
            if out_of_time(clock):
                break
            _roll_out(instance, pool, repaired(instance, _recombined(parents, rng), rng), rng)
    return pool.solution()


def _recombined(parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cross pairs of parents, switching between them with probability RECOMBINATION a letter."""
    parents = parents[rng.permutation(len(parents))]
    half = len(parents) // 2
    one, other, odd = parents[:half], parents[half : 2 * half], parents[2 * half :]
    crossed = (np.cumsum(rng.random(one.shape) < RECOMBINATION, axis=1) % 2).astype(np.bool_)
    return np.concatenate([np.where(crossed, other, one), np.where(crossed, one, other), odd])


def _roll_out(task: DesignTask, pool: Pool, roots: np.ndarray, rng: np.random.Generator) -> None:
    """Mutate all roots side by side; a rollout ends where a child falls below its root."""
    nodes, floors = roots, pool.add(roots)
    for _ in range(MOST_STEPS):
        if not len(nodes) or out_of_time(pool.clock):
            break
        children = offspring(task, nodes, MUTATIONS, rng)
        values = pool.add(children)
        going = (values >= floors) & np.isfinite(values)
        nodes, floors = children[going], floors[going]


in_rounds = partial(InRounds, solve)
