"""Plans of groups that all have one degree, with and without tuning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.groups import kinds_of
from .bounds import simple_bound
from .grouping import Grouping, Work
from .local_search import search
from .opening import least_batches
from .packing import FILLS, MORE, level, packed
from .planning import Best

PUBLISHED_FILL = 0.9  # share of a group's room that FlexSP's code fills for its baselines
TRIES = len(FILLS) + MORE + 1  # plans of a degree, tuned


def plans_of_degree(work: Work, degree: int, *, tuned: bool = True) -> Iterator[Grouping | None]:
    """Yield plans of one degree, None for each try without one.

    Args:
        work: the step.
        degree: devices of each group.
        tuned: whether to try several shares of the room, and parts of like lengths; otherwise best
            fit to the published share only.
    """
    for share in FILLS if tuned else (PUBLISHED_FILL,):
        yield packed(work, degree, share)
    least = least_batches(work)
    for many in range(least, least + MORE + 1) if tuned else ():
        yield level(work, degree, many)


def plan_by_degrees(best: Best, step: int, rng: np.random.Generator, degrees: np.ndarray) -> None:
    """Plan a step with groups of one degree, until its time is over.

    Each packing is tried with all degrees, then the next; the degree of the best plan is searched
    on by local search.

    Args:
        best: takes the plans; its first has one of the degrees.
        step: number of the step.
        rng: draws the changes.
        degrees: int64 [D]; those to choose from.
    """
    work, longest, began = best.works[step], 0.0, best.left
    tries = [plans_of_degree(work, int(degree)) for degree in degrees]
    for plan in (next(plans) for _ in range(TRIES) for plans in tries):
        if plan is not None:
            best.offer(step, plan)
        best.clock.evaluations += 1
        longest, began = max(longest, began - best.left), best.left
        if best.left <= longest:
            return
    other, bound = work.degree != work.degree[best.plans[step].kind[0]], best.bounds[step]
    best.works[step] = work._replace(
        times=np.where(other, np.inf, work.times), capacity=np.where(other, 0, work.capacity)
    )
    best.bounds[step] = simple_bound(best.works[step])
    search(best, step, rng)
    best.works[step], best.bounds[step] = work, bound


def static_degree(instance: TrainingBatch) -> int:
    """Return the smallest degree whose groups hold the context, or else the most tokens.

    Args:
        instance: the batch.
    """
    kinds = kinds_of(instance)
    enough = kinds.capacity >= min(instance.context, int(kinds.capacity.max()))
    return int(kinds.degree[enough].min())


def full_groups(work: Work, degree: int) -> Grouping:
    """Return the plan of one degree by best fit into full groups.

    Args:
        work: the step.
        degree: devices of each group; the longest sequence fits.
    """
    plan = packed(work, degree, FILLS[0])
    assert plan is not None
    return plan
