"""CMA-ES on a proxy over logits (Hansen 2016, arXiv 1604.00772), set up as in Design-Bench.

As there (Trabucco et al. 2022, arXiv 2202.08450, appendix), a run begins from each of the best
measured sequences, with step size 0.5, and lasts 100 iterations.
"""

from __future__ import annotations

import warnings
from functools import partial

import cma
import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import starting_designs
from ...methods.sequence_design.in_rounds import InRounds
from ...methods.sequence_design.pool import Pool, fit_proxy_in_half_the_time, out_of_time
from ...methods.sequence_design.sequences import decode, one_hot

STEP = 0.5  # sigma: first standard deviation of the logits
ITERATIONS = 100
MOST_FULL = 200  # dimensions above which the covariance is kept diagonal


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run CMA-ES (Hansen 2016) from start after start until the budget ends.

    Logits L * V stand for the feasible sequence they prefer.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training, the order of the starts, and the seed of each run.

    Returns:
        The best batch met, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    starts = starting_designs(instance)
    while not out_of_time(clock):
        for row in rng.permutation(len(starts)):
            if out_of_time(clock):
                break
            _run(instance, pool, starts[row], int(rng.integers(1, 2**31)))
    return pool.solution()


def _run(task: DesignTask, pool: Pool, start: np.ndarray, seed: int) -> None:
    """Minimize the negative prediction from one start int8 [L]; `seed` is CMA-ES's own."""
    size = task.length * task.letters
    options = {
        "seed": seed,
        "maxiter": ITERATIONS,
        "verbose": -9,
        "CMA_diagonal": size > MOST_FULL,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = cma.CMAEvolutionStrategy(one_hot(task, start).ravel(), STEP, options)
        while not search.stop() and not out_of_time(pool.clock):
            logits = search.ask()
            tokens = decode(task, np.reshape(logits, (-1, task.length, task.letters)))
            search.tell(logits, (-pool.add(tokens)).tolist())


in_rounds = partial(InRounds, solve)
