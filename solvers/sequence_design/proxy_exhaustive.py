"""The best batch by the proxy alone: every sequence there is, or best-first search where there are
too many.

What it gets is the proxy's worth: no search by the same proxy can find a batch it believes in more.
"""

from __future__ import annotations

import heapq

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...methods.sequence_design.pool import Pool, fit_proxy_in_half_the_time, out_of_time

MOST_SEQUENCES = 2**22
CHUNK = 8192


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Enumerates up to 4 million sequences; of more, always expands the best one not yet expanded,
    by all substitutions of one letter, from the offline set's best on, until nothing among the best
    designs is left to expand. One evaluation is one sequence.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    total = instance.letters**instance.length
    if total > MOST_SEQUENCES:
        _best_first(instance, pool)
        return pool.solution()
    for first in range(0, total, CHUNK):
        if out_of_time(clock):
            break
        codes = np.arange(first, min(first + CHUNK, total))
        powers = instance.letters ** np.arange(instance.length)
        pool.add((codes[:, None] // powers % instance.letters).astype(np.int8))
    return pool.solution()


def _best_first(task: DesignTask, pool: Pool) -> None:
    places = np.repeat(np.arange(task.length), task.letters)
    letters = np.tile(np.arange(task.letters), task.length)
    rows = np.arange(len(places))
    seen = {tokens.tobytes() for tokens in pool.tokens}
    queue = [
        (-float(value), tokens.tobytes())
        for value, tokens in zip(pool.values, pool.tokens, strict=True)
    ]
    heapq.heapify(queue)
    while queue and not out_of_time(pool.clock):
        _, code = heapq.heappop(queue)
        near = np.tile(np.frombuffer(code, np.int8), (len(rows), 1))
        near[rows, places] = letters
        fresh = [row for row in range(len(near)) if near[row].tobytes() not in seen]
        seen |= {near[row].tobytes() for row in fresh}
        values = pool.add(near[fresh])
        for value, row in zip(values, fresh, strict=True):
            if value >= pool.values[-1]:
                heapq.heappush(queue, (-float(value), near[row].tobytes()))
