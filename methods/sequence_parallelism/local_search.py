"""Local search over plans of a step: limits of micro-batches first, then annealing of the best."""

from __future__ import annotations

import numpy as np

from . import limits
from .annealing import anneal
from .grouping import Grouping, step_time
from .planning import Best

WEIGHT = 0.3  # of the devices' mean time in what a change costs
HEAT = 0.001  # ms at the start, in parts of the plan's time
FIRST_CHANGES = 64  # before their pace was measured
LOOK_S, LAST_S = 0.004, 2e-4  # between looks at the clock; too short to begin
FIRST_ROUND_S, GROWTH = 0.01, 1.7  # rounds of limits and annealing
SEARCH_SHARE = 0.5  # of a round, for limits
ANNEALED = 4  # plans a round
SWEEP_SHARE = 0.4  # most of the time for the first limits


def improve(
    best: Best, step: int, start: Grouping, seconds: float, rng: np.random.Generator
) -> Grouping:
    """Anneal a plan for some time, offer what is better than the best, and return the best of it.

    Args:
        best: takes the plans.
        step: number of the step.
        start: the plan to start from.
        seconds: wall-clock seconds.
        rng: draws the changes.
    """
    work, until = best.works[step], best.left - seconds
    count = len(work.lengths)
    group = start.group.copy()
    kind, batch = np.zeros(count, np.int64), np.zeros(count, np.int64)
    kind[: len(start.kind)], batch[: len(start.kind)] = start.kind, start.micro_batch
    record, out = np.zeros((3, count), np.int64), start
    reached = np.array([step_time(work, start)])
    scale, changes = HEAT * reached[0], FIRST_CHANGES
    while (left := best.left - max(0.0, until)) > LAST_S:
        looked = best.clock.elapsed
        if best.clock.budget.evaluations is not None:
            changes = min(changes, best.clock.budget.evaluations - best.clock.evaluations)
        hot = scale * (left / seconds) ** 2
        found = anneal(work, group, kind, batch, record, reached, hot, WEIGHT, changes, rng)
        best.clock.evaluations += changes
        pace = max(1e-8, (best.clock.elapsed - looked) / changes)
        changes = max(16, int(min(LOOK_S, left / 4) / pace))
        if found:
            _, numbers = np.unique(record[2, :found], return_inverse=True)
            out = Grouping(record[0].copy(), record[1, :found].copy(), numbers.astype(np.int64))
            if reached[0] < best.times[step]:
                best.offer(step, out)
    return out


def search(
    best: Best, step: int, rng: np.random.Generator, elites: list[limits.Elite] | None = None
) -> None:
    """Plan a step until its time is over.

    Args:
        best: takes the plans.
        step: number of the step.
        rng: draws all changes.
        elites: plans to start from, best first; changed in place. None: those of a sweep.
    """
    if elites is None:
        elites = limits.sweep(best, step, (1 - SWEEP_SHARE) * best.left)
    length = FIRST_ROUND_S
    while best.left > 0.0:
        length = min(length, best.left)
        limits.search(best, step, elites, best.left - SEARCH_SHARE * length, rng)
        seconds = (1 - SEARCH_SHARE) * length / ANNEALED
        for plan in [best.plans[step], *(one.plan for one in elites[: ANNEALED - 1])]:
            improve(best, step, plan, min(seconds, best.left), rng)
        length *= GROWTH
