"""Prove a bound on a step's time, and find plans: the relaxation, with levels made finer."""

from __future__ import annotations

from functools import partial

import numpy as np

from .. import highs
from .bounds import Relaxation, levels_between, relax
from .grouping import Grouping, Work
from .local_search import improve
from .opening import fill_template, least_batches
from .planning import Best

RATIO, FINEST = 1.3, 1.004  # of a level's borders at first, and at last
SLACKS = (1.0, 1.004, 1.012, 1.03)  # of the relaxation's times, tried as limits of plans
LEAST_S = 0.3  # for a round
# Of a relaxation: a larger one takes seconds to write down; and seconds a column for that and for
# the first steps of HiGHS, in which nothing stops it.
MOST_COLUMNS, COLUMN_S = 200_000, 1.5e-4
POLISH_SHARE, POLISH_S = 0.15, 0.2  # of the time that is left, and most, for plans of a round
GAP = 1e-6  # of the time, at which the bound is met
RELATIVE_GAP = 3e-4  # of the time, at which HiGHS stops: the next round is finer


def templates(relaxation: Relaxation, x: np.ndarray, work: Work) -> tuple[np.ndarray, ...]:
    """Return the micro-batches and groups of a point of the relaxation.

    Args:
        relaxation: of the step.
        x: float64 [columns]; whole in micro-batches and groups.
        work: the step.

    Returns:
        Times float64 [M] of the micro-batches, and kinds and micro-batches of groups, int64 [P].
    """
    many, total, groups, _ = relaxation.parts(x, len(work.degree))
    times, kinds, batches = list[float](), list[int](), list[int]()
    for level in range(len(many)):
        count = round(many[level])
        if not count:
            continue
        first = len(times)
        times += [total[level] / count] * count
        free = np.tile(work.devices, (count, 1))
        for kind in np.argsort(-work.degree, kind="stable"):
            c, degree = work.device_class[kind], work.degree[kind]
            for _ in range(round(groups[level, kind])):
                at = int(free[:, c].argmax())  # the largest groups go first, where most is free
                if free[at, c] >= degree:
                    free[at, c] -= degree
                    kinds.append(int(kind))
                    batches.append(first + at)
    return np.array(times), np.array(kinds, np.int64), np.array(batches, np.int64)


def plans_of_point(relaxation: Relaxation, x: np.ndarray, work: Work) -> list[Grouping]:
    """Return plans with the groups of a point, by several limits.

    Args:
        relaxation: of the step.
        x: float64 [columns].
        work: the step.
    """
    times, kind, batch = templates(relaxation, x, work)
    if not len(times) or len(kind) > len(work.lengths):
        return []
    return [fill_template(work, slack * times, kind, batch) for slack in SLACKS]


def _left(best: Best, until: float) -> float:
    return best.left - until


def prove(best: Best, step: int, rng: np.random.Generator) -> float:
    """Return a proven bound on a step's time, ms; plans that are found on the way are offered.

    Args:
        best: takes the plans, and says when to stop.
        step: number of the step.
        rng: seeds HiGHS, and draws the changes of plans.
    """
    work = best.works[step]
    bound = best.bounds[step]
    if best.times[step] <= bound * (1 + GAP):
        return bound
    lowest = float((work.constant + work.times[-1]).min())
    highest = best.times[step] - (least_batches(work) - 1) * lowest
    borders = levels_between(lowest, max(highest, lowest * 1.001), RATIO)
    sizes = len(np.unique(work.lengths)) * len(work.degree)
    while best.left > LEAST_S and best.times[step] > bound * (1 + GAP):
        columns = sizes * (len(borders) - 1)
        if columns > MOST_COLUMNS or COLUMN_S * columns > best.left:
            break
        relaxation = relax(work, borders, best.times[step] * (1 + GAP))
        seconds = partial(_left, best, POLISH_SHARE * best.left)
        outcome = highs.solve(
            relaxation.program, seconds,
            seed=int(rng.integers(2**31)), gap=RELATIVE_GAP * best.times[step],
            start=relaxation.point(work, best.plans[step]),
        )  # fmt: skip
        # A plan that is better than the best has no longer micro-batch than the last border.
        bound = max(bound, min(outcome.bound, best.times[step]))
        if outcome.x is None:
            break
        polish = min(POLISH_S, POLISH_SHARE * best.left) / len(SLACKS)
        for plan in plans_of_point(relaxation, outcome.x, work):
            improve(best, step, plan, min(best.left, polish), rng)
        many = relaxation.parts(outcome.x, len(work.degree))[0]
        used = np.flatnonzero(many > 0.5)
        wide = [at for at in used if borders[at + 1] / borders[at] > FINEST]
        if not wide or not outcome.optimal:
            break
        middles = np.sqrt(borders[wide] * borders[np.array(wide) + 1])
        borders = np.unique(np.concatenate([borders, middles]))
    return bound
