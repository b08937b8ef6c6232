"""Random plans within the budget: the baseline that any method must beat."""

from __future__ import annotations

import itertools

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.dynamics import (
    State,
    Table,
    make_state,
    make_table,
    mark,
    take,
)
from ...envs.sequence_parallelism.groups import groups_limit, kinds_of, order_of
from ...envs.sequence_parallelism.problem import PROBLEM

CHECKED = 64  # sequences between two looks at the clock


def solve(instance: TrainingBatch, budget: Budget, seed: int) -> Solution:
    """Play random plans until the budget ends: each action uniform over the legal ones.

    Args:
        instance: the batch.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: draws the actions.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    kinds, order = kinds_of(instance), order_of(instance)
    table, limit = make_table(kinds), groups_limit(instance)
    lengths = instance.lengths[order]
    starts = np.searchsorted(instance.step[order], np.arange(instance.n_steps + 1))
    mask = np.zeros(limit * (1 + len(kinds.degree)), np.int8)
    best, time = PROBLEM.null_plan(instance), np.inf
    actions = np.zeros(len(order), np.int64)
    while not clock.expired:
        total = 0.0
        for first, end in itertools.pairwise(starts):
            state = make_state(limit, len(kinds.devices))
            for begin in range(first, end, CHECKED):
                if clock.expired:
                    return clock.solution(best)
                part = slice(begin, min(end, begin + CHECKED))
                _play(rng, table, state, lengths[part], mask, actions[part])
            total += state.longest[: state.counts[1]].sum()
        clock.evaluations += 1
        if total < time:
            best, time = actions.copy(), total
            clock.incumbent(best)
    return clock.solution(best)


@njit(cache=True)
def _play(
    rng: np.random.Generator,
    table: Table,
    state: State,
    lengths: np.ndarray,
    mask: np.ndarray,
    actions: np.ndarray,
) -> None:
    """Assign sequences at random.

    Args:
        rng: draws the actions.
        table: the kinds of groups.
        state: of the step; played on.
        lengths: of the sequences, int64 [k].
        mask: overwritten, int8 [A].
        actions: gets what was done, int64 [k].
    """
    for row in range(len(lengths)):
        mark(table, state, lengths[row], mask)
        left = int(rng.random() * mask.sum())
        action = 0
        while mask[action] == 0 or left > 0:
            left -= mask[action]
            action += 1
        actions[row] = action
        take(table, state, lengths[row], action)
