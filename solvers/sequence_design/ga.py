"""A genetic algorithm on the proxy: tournaments, uniform crossover, point mutations, elites
(Goldberg 1989, Genetic Algorithms, chapters 3 and 4).
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask, distinct
from ...envs.sequence_design.pool import Pool, learn, out_of_time
from ...envs.sequence_design.proxy import Ensemble
from .common import mutants, random_designs

POPULATION = 512
ELITES = 64
TOURNAMENT = 3
CROSSED = 0.5  # of the children
MUTATIONS = 1.0  # a child, on average
PATIENCE = 60  # generations without a better batch, after which a new population begins


def solve(
    instance: DesignTask,
    budget: Budget,
    seed: int,
    proxy: Ensemble | None = None,
    starts: np.ndarray | None = None,
) -> Solution:
    """Breeds until the budget ends; one evaluation is one sequence.

    A population begins as half starts, half random sequences; when it no longer improves the best
    batch, another begins. Infeasible children die.

    Args:
        instance: the task.
        budget: seconds and evaluations.
        seed: seeds all draws.
        proxy: what is climbed; None for one that is trained in half of the seconds.
        starts: int8 [n, L]; None for the task's start pool.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, learn(instance, clock, rng) if proxy is None else proxy, clock)
    if starts is None:
        starts = instance.sequences[instance.starts]
    while not out_of_time(clock):
        half = POPULATION // 2
        tokens = np.concatenate(
            [starts[rng.integers(len(starts), size=half)], random_designs(instance, half, rng)]
        )
        _breed(instance, pool, tokens, rng)
    return pool.solution()


def _breed(task: DesignTask, pool: Pool, tokens: np.ndarray, rng: np.random.Generator) -> None:
    values, idle = pool.add(tokens), 0
    while idle < PATIENCE and not out_of_time(pool.clock):
        before = pool.values[: task.batch_size].sum()
        mothers, fathers = (_chosen(values, rng) for _ in range(2))
        crossed = rng.random((POPULATION, 1)) < CROSSED
        mixed = crossed & (rng.random((POPULATION, task.length)) < 0.5)
        children = np.where(mixed, tokens[fathers], tokens[mothers])
        children = mutants(children, task.letters, MUTATIONS / task.length, rng)
        child_values = pool.add(children)
        elites = np.argsort(-values, kind="stable")[:ELITES]
        tokens = np.concatenate([tokens[elites], children])
        values = np.concatenate([values[elites], child_values])
        rows, _ = distinct(tokens)
        rows = rows[np.argsort(-values[rows], kind="stable")][:POPULATION]
        tokens, values = tokens[rows], values[rows]
        idle = 0 if pool.values[: task.batch_size].sum() > before else idle + 1


def _chosen(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Winners of tournaments, int64 [POPULATION]."""
    entrants = rng.integers(len(values), size=(POPULATION, TOURNAMENT))
    best = values[entrants].argmax(axis=1)
    winners: np.ndarray = entrants[np.arange(POPULATION), best]
    return winners
