"""POP (Narayanan et al., SOSP 2021): split a cluster at random, solve each part, and merge."""

from __future__ import annotations

from functools import partial

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import (
    ADMISSION,
    FRAGMENT,
    FRAGMENT_RATE,
    FREE,
    MOVES_TO_GOAL,
    make_state,
    make_static,
)
from ...envs.vm_rescheduling.objective import goal_reached
from ...methods.vm_rescheduling import greedy, local_search
from ...methods.vm_rescheduling.aggregated import build, counts_of
from ...methods.vm_rescheduling.aggregated_search import RESERVE_S, SAME, run_highs
from ...methods.vm_rescheduling.expand import expand
from ...methods.vm_rescheduling.minimal import finish
from ...methods.vm_rescheduling.two_nodes import for_any_hosts

PART_PMS = 70  # PMs of a part, about
LEAST_S = 0.06  # with fewer seconds left, no part is built


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plan by POP (Narayanan et al. 2021): solve random parts of the cluster one by one, and merge.

    The PMs are split at random into parts of about PART_PMS, each with its share of MNL and of the
    time left, and the aggregated model plans each; moves left over are spent greedily. This is
    repeated with other parts until the time is up. One greedy plan comes first.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one merged plan, or the greedy one.
        seed: draws the parts and the order of moves, and seeds HiGHS.

    Returns:
        The best plan, int64 plies.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    if static.objective == ADMISSION:  # of both nodes of a host together: no model of counts has it
        return local_search.search(instance, clock, seed)
    rng = np.random.default_rng(seed)
    best, best_value = greedy.search(instance, static, start, clock, rng, plans=1)
    parts = max(2, round(instance.n_pms / PART_PMS))
    planned = static
    if static.objective == MOVES_TO_GOAL:  # which part should reach the goal is not defined
        planned = static._replace(objective=FRAGMENT_RATE)
    ratio = (start.totals[FREE] - start.totals[FRAGMENT]) / static.unit / max(1, start.totals[FREE])
    while not clock.expired and not goal_reached(static, start.totals):
        part_of = rng.permutation(instance.n_pms) % parts
        shares = np.diff(np.arange(parts + 1) * instance.mnl // parts)
        leaving, entering = [np.zeros((0, 3), np.int64)], [np.zeros((0, 3), np.int64)]
        for part, share in enumerate(rng.permutation(shares)):
            seconds = (clock.remaining - RESERVE_S) / (parts - part)
            if share == 0 or clock.remaining < LEAST_S:
                continue
            until = clock.elapsed + seconds
            model = build(planned, start, int(share), part_of == part, float(ratio))
            outcome = run_highs(model, partial(_seconds_until, clock, until), seed)
            if outcome.x is not None:
                out, into = counts_of(model, outcome.x)
                leaving.append(out)
                entering.append(into)
        if len(leaving) == 1 or clock.remaining <= 0.0:
            break
        moves = np.concatenate(leaving), np.concatenate(entering)
        plan, _ = expand(static, start, *moves, rng)
        plan, reached = greedy.complete(instance, static, start, plan, rng, clock)
        clock.evaluations += 1
        if reached < best_value - SAME:
            best, best_value = plan, reached
            clock.incumbent(best)
    return finish(clock, static, start, best)


def _seconds_until(clock: Clock, until: float) -> float:
    return until - clock.elapsed
