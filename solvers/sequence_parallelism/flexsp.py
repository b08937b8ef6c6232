"""FlexSP's pipeline: parts of like lengths, buckets, and a mixed-integer program for each part.

Wang et al., ASPLOS 2025, arXiv 2412.01523, sections 4 and 5. The paper solves the programs in
parallel by SCIP, 5 to 15 s each; here they run one after another in what the budget allows, by
HiGHS on one thread.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...methods.sequence_parallelism.buckets import buckets, one_kind_start, solve_buckets
from ...methods.sequence_parallelism.grouping import Grouping, Work, compact, step_time
from ...methods.sequence_parallelism.one_degree import full_groups, static_degree
from ...methods.sequence_parallelism.opening import least_batches
from ...methods.sequence_parallelism.packing import chunks
from ...methods.sequence_parallelism.planning import Best, plan_steps

TRIALS = 5  # numbers of micro-batches, from the least on
LEAST_S = 0.1  # for a program; where less is left the warm start is taken


def _together(
    work: Work, borders: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]
) -> Grouping:
    """Return the plan whose micro-batches are planned apart."""
    offsets = np.cumsum([0, *(len(kind) for _, kind in parts)])
    group = np.concatenate([own + at for (own, _), at in zip(parts, offsets, strict=False)])
    kind = np.concatenate([kind for _, kind in parts])
    batch = np.repeat(np.arange(len(parts)), np.diff(offsets))
    return compact(group, kind, batch)


def _left(best: Best, until: float) -> float:
    return best.left - until


def _planner(best: Best, step: int, rng: np.random.Generator) -> None:
    work = best.works[step]
    room = int(work.capacity.max() // work.degree[work.capacity.argmax()] * work.devices.sum())
    trials: list[tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]] = []
    for many in range(least_batches(work), least_batches(work) + TRIALS):
        borders = chunks(work.lengths, many)
        warm = []
        for first, last in pairwise(borders):
            if best.left <= 0.0:
                return
            if (start := one_kind_start(work, int(first), int(last))) is None:
                break
            warm.append(start)
        else:
            trials.append((borders, warm))
            best.offer(step, _together(work, borders, warm))
        best.clock.evaluations += 1
    # The most promising number of micro-batches comes first, for time may not suffice for all.
    trials.sort(key=lambda one: step_time(work, _together(work, *one)))
    programs = sum(len(warm) for _, warm in trials)
    for borders, warm in trials:
        for part, (first, last) in enumerate(pairwise(borders)):
            share = max(LEAST_S, best.left / programs)
            if best.left < share:
                best.offer(step, _together(work, borders, warm))
                return
            until = best.left - share
            cuts = buckets(work.lengths[first:last], room)
            found = solve_buckets(
                work, int(first), int(last), cuts, partial(_left, best, until), rng
            )
            if found is not None:
                warm[part] = found
            programs -= 1
        best.offer(step, _together(work, borders, warm))
        best.clock.evaluations += 1


def solve(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Plan each step by FlexSP's pipeline.

    Args:
        instance: the batch.
        budget: seconds and evaluations; an evaluation is a plan of all micro-batches.
        seed: deals out the sequences of a bucket, and seeds HiGHS.
    """
    degree = static_degree(instance)
    return plan_steps(
        instance, budget, seed, _planner, lambda work: full_groups(work, degree)
    ).solution()
