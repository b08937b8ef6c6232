"""The best batch by the proxy alone: enumerate all sequences, or search them best first.

Letters that a rule bars at a position are left out.

Its score is the proxy's worth: no search by the same proxy can find a batch that the proxy ranks
higher.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...methods.sequence_design.pool import Pool, fit_proxy_in_half_the_time, out_of_time

MOST_SEQUENCES = 2**22  # largest space that is enumerated
CHUNK = 8192  # sequences scored at a time


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Find the batch that the proxy ranks best.

    Up to MOST_SEQUENCES sequences are enumerated. Of more, the best sequence not yet expanded is
    expanded by all substitutions of one letter, beginning with the offline set's best, until none
    of the best designs is left to expand, or the budget ends.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the proxy's training.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    letters = [np.flatnonzero(~barred) for barred in instance.barred]
    total = math.prod(map(len, letters))
    if total > MOST_SEQUENCES:
        _best_first(instance, pool)
        return pool.solution()
    for first in range(0, total, CHUNK):
        if out_of_time(clock):
            break
        codes = np.arange(first, min(first + CHUNK, total))
        tokens = np.empty((len(codes), instance.length), np.int8)
        for place, allowed in enumerate(letters):
            tokens[:, place] = allowed[codes % len(allowed)]
            codes = codes // len(allowed)
        pool.add(tokens)
    return pool.solution()


def _best_first(task: DesignTask, pool: Pool) -> None:
    """Expand the best sequence again and again by all substitutions of one letter."""
    places, letters = np.nonzero(~task.barred)
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
