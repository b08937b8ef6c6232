"""Search for time limits of micro-batches under which opening groups gives a good plan."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from .grouping import Grouping, Work
from .opening import least_batches, open_groups
from .planning import Best

MORE = 4  # micro-batches that are tried beyond the least number
RATIOS = (1.35, 1.0, 1.8, 2.5)  # of the first micro-batch's limit to that of the others
SLACK = 0.25  # by which the limits' sum may exceed the bound
HALVINGS = 5
ELITES = 12
TIGHTER = 0.998  # limits of the next try, in parts of what an elite takes
FRESH = 0.2  # share of tries that draw limits anew
STEP, BIAS = 0.1, 0.1  # standard deviations of the logarithms of limits and biases
SAME = 1e-6  # ms


class Elite(NamedTuple):
    """A good plan and what led to it.

    Attributes:
        time: of the step, ms.
        limits: float64 [M]; for the next try, ms.
        bias: float64 [G]; see `open_groups`.
        plan: the groups.
    """

    time: float
    limits: np.ndarray
    bias: np.ndarray
    plan: Grouping


def total_time(work: Work, bound: float, batches: int) -> float:
    """Return a time that no plan with so many micro-batches goes below by much, ms.

    Args:
        work: the step.
        bound: its simple bound, ms.
        batches: micro-batches.
    """
    return bound + (batches - least_batches(work)) * float(work.constant.min())


def sweep(best: Best, step: int, until: float = 0.0) -> list[Elite]:
    """Try numbers of micro-batches and ratios of limits, and halve the range of their sum.

    Args:
        best: takes the plans, and says when to stop.
        step: number of the step.
        until: value of `Best.left` at which to stop.

    Returns:
        The best plans, best first.
    """
    work, elites = best.works[step], list[Elite]()
    bias, least = np.ones(len(work.degree)), least_batches(work)
    for batches in range(least, least + MORE + 1):
        if total_time(work, best.bounds[step], batches) > best.times[step]:
            break
        for ratio in RATIOS[: 1 if batches == 1 else None]:
            shape = np.ones(batches)
            shape[0] = ratio
            if not narrow(best, step, elites, shape, bias, until):
                return elites
    return elites


def narrow(
    best: Best,
    step: int,
    elites: list[Elite],
    shape: np.ndarray,
    bias: np.ndarray,
    until: float = 0.0,
) -> bool:
    """Try limits of one shape, and say whether there was time for all tries.

    Args:
        best: takes the plans, and says when to stop.
        step: number of the step.
        elites: the best plans, best first; changed in place.
        shape: float64 [M]; see `narrowing`.
        bias: float64 [G]; see `open_groups`.
        until: value of `Best.left` at which to stop.
    """
    tries = narrowing(best.works[step], best.bounds[step], shape)
    limits = next(tries)
    for _ in range(HALVINGS):
        if best.left <= max(until, best.pace):
            return False
        limits = tries.send(try_limits(best, step, elites, limits, bias))
    return True


def narrowing(work: Work, bound: float, shape: np.ndarray) -> Generator[np.ndarray, float, None]:
    """Halve the range of the limits' sum; without end.

    Args:
        work: the step.
        bound: its simple bound, ms.
        shape: float64 [M]; limits in proportion.

    Yields:
        Limits to try, float64 [M], ms; sent in return is what the plan takes that they give, ms.
    """
    shape = shape * (total_time(work, bound, len(shape)) / shape.sum())
    low, high = 1.0, 1.0 + SLACK
    while True:
        middle = (low + high) / 2
        found = yield shape * middle
        if found <= middle * shape.sum() + SAME:
            high = middle
        else:
            low = middle


def try_limits(
    best: Best, step: int, elites: list[Elite], limits: np.ndarray, bias: np.ndarray
) -> float:
    """Open groups, offer the plan, keep it if it is one of the best, and return its ms.

    Args:
        best: takes the plan.
        step: number of the step.
        elites: the best plans, best first; changed in place.
        limits: float64 [M]; see `open_groups`.
        bias: float64 [G]; see `open_groups`.
    """
    began = best.clock.elapsed
    opened = open_groups(best.works[step], limits, bias)
    best.pace = best.clock.elapsed - began
    best.clock.evaluations += 1
    time = float(opened.slowest.sum())
    if time < best.times[step] - SAME:
        best.offer(step, opened.plan)
    worse = len(elites) >= ELITES and time >= elites[-1].time - SAME
    if not worse and all(abs(time - one.time) > SAME for one in elites):
        elites.append(Elite(time, TIGHTER * opened.slowest, bias, opened.plan))
        elites.sort(key=lambda one: one.time)
        del elites[ELITES:]
    return time


def search(
    best: Best, step: int, elites: list[Elite], until: float, rng: np.random.Generator
) -> None:
    """Change limits and biases of the best plans at random, and try them.

    Args:
        best: takes the plans.
        step: number of the step.
        elites: plans to start from, best first; changed in place.
        until: value of `Best.left` at which to stop.
        rng: draws the changes.
    """
    work, bound = best.works[step], best.bounds[step]
    least, kinds = least_batches(work), len(work.degree)
    while best.left > max(until, best.pace):
        if not elites or rng.random() < FRESH:
            batches = least + int(rng.random() ** 2 * MORE)
            limits = np.exp(rng.normal(0.0, 0.5, batches))
            limits *= total_time(work, bound, batches) * (1 + SLACK * rng.random()) / limits.sum()
            bias = np.exp(rng.normal(0.0, BIAS, kinds))
        else:
            one = elites[min(int(rng.exponential(2.0)), len(elites) - 1)]
            count = len(one.limits)
            limits = one.limits * np.exp(rng.normal(0.0, STEP * rng.random(), count))
            bias = one.bias
            if rng.random() < 0.5:
                bias = bias * np.exp(rng.normal(0.0, BIAS, kinds) * (rng.random(kinds) < 0.5))
        try_limits(best, step, elites, limits, bias)
