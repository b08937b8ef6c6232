"""Random plans within the budget: the baseline that any method must beat."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import (
    MOVES,
    State,
    Static,
    copy_state,
    is_legal,
    make_state,
    make_static,
    move,
    restore_state,
)
from ...envs.vm_rescheduling.objective import goal_reached, value
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.two_nodes import for_any_hosts

DRAWS_A_MOVE = 200  # tries to find a legal move


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Draw random legal plans until the budget ends, and keep the best prefix.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: draws VMs and destinations.

    Returns:
        The best prefix of any plan, int64 plies.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    state = copy_state(start)
    rng = np.random.default_rng(seed)
    plies = np.zeros(2 * instance.mnl, np.int64)
    best = np.zeros(0, np.int64)
    best_value = value(static, start.totals)
    clock.incumbent(best)
    while not clock.expired and not goal_reached(static, start.totals):
        restore_state(state, start)
        length, reached = _random_plan(static, state, rng, plies)
        clock.evaluations += 1
        if reached < best_value - 1e-12:
            best, best_value = plies[: 2 * length].copy(), reached
            clock.incumbent(best)
    return finish(clock, static, start, best)


@njit(cache=True)
def _random_plan(
    static: Static, state: State, rng: np.random.Generator, plies: np.ndarray
) -> tuple[int, float]:
    """Make up to MNL random legal moves.

    Args:
        static: the cluster.
        state: the start, changed in place.
        rng: draws VMs and nodes.
        plies: int64 [2 * MNL], overwritten by the plan.

    Returns:
        The best prefix's number of moves, and its objective.
    """
    best, prefix = value(static, state.totals), 0
    n_vms, n_nodes = len(static.vm_flavor), 2 * len(static.pm_status)
    for step in range(static.mnl):
        found = False
        for _ in range(DRAWS_A_MOVE):
            vm = int(rng.random() * n_vms)
            to = int(rng.random() * n_nodes)
            if is_legal(static, state, vm, to // 2, to % 2):
                found = True
                break
        if not found:
            break
        move(static, state, vm, to // 2, to % 2)
        plies[2 * step], plies[2 * step + 1] = vm, to
        reached = value(static, state.totals)
        if reached < best - 1e-12:
            best, prefix = reached, int(state.totals[MOVES])
        if goal_reached(static, state.totals):
            break
    return prefix, best
