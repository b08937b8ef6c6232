"""A genetic algorithm on a proxy: tournaments, uniform crossover, point mutations, elites.

After Goldberg 1989, Genetic Algorithms, chapters 3 and 4.
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.sequence_design.equality import distinct
from ...datasets.sequence_design.instance import DesignTask
from .pool import Pool, Predictor, out_of_time
from .sequences import offspring, random_designs

POPULATION = 512
ELITES = 64
TOURNAMENT = 3
CROSSED = 0.5  # share of the children that have two parents
MUTATIONS = 1.0  # letters changed in a child, on average
PATIENCE = 60  # generations without a better batch, after which a new population begins


def evolve(
    task: DesignTask,
    proxy: Predictor,
    starts: np.ndarray,
    clock: Clock,
    rng: np.random.Generator,
) -> Solution:
    """Evolve designs until the clock runs out, and return the best batch met.

    A population begins as half starts, half random sequences; after PATIENCE generations that do
    not improve the best batch another one begins. Children that break rules are repaired; those
    with banned pairs alone have the value -inf.

    Args:
        task: the task.
        proxy: ranks the designs.
        starts: int8 [n, L]; sequences that populations begin from.
        clock: ends the search; one evaluation is one sequence scored.
        rng: draws starts, random sequences, parents, crossovers and mutations.

    Returns:
        The best batch by the proxy.
    """
    pool = Pool(task, proxy, clock)
    half = POPULATION // 2
    while not out_of_time(clock):
        known = starts[rng.integers(len(starts), size=half)]
        _breed(task, pool, np.concatenate([known, random_designs(task, half, rng)]), rng)
    return pool.solution()


def _breed(task: DesignTask, pool: Pool, tokens: np.ndarray, rng: np.random.Generator) -> None:
    values, idle = pool.add(tokens), 0
    while idle < PATIENCE and not out_of_time(pool.clock):
        before = pool.values[: task.batch_size].sum()
        mothers, fathers = (_tournament_winners(values, rng) for _ in range(2))
        crossed = rng.random((POPULATION, 1)) < CROSSED
        mixed = crossed & (rng.random((POPULATION, task.length)) < 0.5)
        children = np.where(mixed, tokens[fathers], tokens[mothers])
        children = offspring(task, children, MUTATIONS, rng)
        child_values = pool.add(children)
        elites = np.argsort(-values, kind="stable")[:ELITES]
        tokens = np.concatenate([tokens[elites], children])
        values = np.concatenate([values[elites], child_values])
        rows, _ = distinct(tokens)
        rows = rows[np.argsort(-values[rows], kind="stable")][:POPULATION]
        tokens, values = tokens[rows], values[rows]
        idle = 0 if pool.values[: task.batch_size].sum() > before else idle + 1


def _tournament_winners(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw parents by tournaments, int64 [POPULATION] rows of `values`."""
    entrants = rng.integers(len(values), size=(POPULATION, TOURNAMENT))
    best = values[entrants].argmax(axis=1)
    winners: np.ndarray = entrants[np.arange(POPULATION), best]
    return winners
