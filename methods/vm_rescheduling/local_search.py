"""Large-neighborhood search: undo some moves of a plan, replay the rest, complete greedily.

The greedy completion adds to the cost of a node an energy of its part-filled slot, with a random
form and scale each time. A strong energy makes moves that open no slot yet; so pairs and chains of
moves arise that a myopic choice never finds. A plan is an executable sequence throughout, so every
constraint and objective is served alike.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import (
    ADMISSION,
    FRAGMENT_RATE,
    FREE,
    MIXED,
    State,
    Static,
    copy_state,
    is_legal,
    make_state,
    make_static,
    restore_state,
)
from ...envs.vm_rescheduling.objective import value
from ...envs.vm_rescheduling.rooms import POINTS
from . import greedy
from .gains import TIE_BREAK, Table, make_table, residual_energy, restore_table
from .minimal import finish
from .moves import make_move

FIRST_PLANS = 8
ENERGIES = (  # (scale in cores, power)
    (TIE_BREAK, 2.0), (TIE_BREAK, 0.7), (0.5, 2.0), (1.0, 1.0), (1.0, 3.0), (2.0, 2.0), (4.0, 2.0),
)  # fmt: skip
UNDONE = (0.05, 0.45)  # least and greatest share of the moves undone
HEAT = 0.1  # slots; mean of how much worse an accepted plan may be
PATIENCE_LIVE = 60  # rounds without a better plan, after which a live search ends


def search(instance: Cluster, clock: Clock, seed: int) -> Solution:
    """Plan by large-neighborhood search from the best of FIRST_PLANS greedy plans.

    Args:
        instance: the cluster.
        clock: ends the search; one evaluation is one plan completed.
        seed: seed of all random draws.

    Returns:
        The best plan found. In live mode, where time is quality, the search ends once it stops
        improving.
    """
    static = make_static(instance)
    start = make_state(instance, static)
    rng = np.random.default_rng(seed)
    plan, _ = greedy.search(instance, static, start, clock, rng, plans=FIRST_PLANS)
    best, _ = improve(instance, static, start, plan, clock, rng)
    return finish(clock, static, start, best)


def improve(
    instance: Cluster,
    static: Static,
    start: State,
    plan: np.ndarray,
    clock: Clock,
    rng: np.random.Generator,
    bound: float = 0.0,
) -> tuple[np.ndarray, float]:
    """Improve a legal plan until the clock stops, the bound is met, or in live mode until no better
    plan comes.

    Args:
        instance: the cluster.
        static: the same cluster as arrays.
        start: the state before the plan.
        plan: int64 plies of a legal plan.
        clock: counts evaluations (plans completed), records incumbents, and ends the search.
        rng: draws which moves are undone and how the plan is completed.
        bound: a value of the objective that no plan can beat.

    Returns:
        The best plan, int64 plies, and its value.
    """
    best = current = plan
    best_value = current_value = value(static, greedy.after(static, start, plan).totals)
    if static.objective in (FRAGMENT_RATE, MIXED):
        heat = HEAT * static.unit / max(int(start.totals[FREE]), 1)
    elif static.objective == ADMISSION:
        heat = HEAT * 16 * POINTS * 100 / max(static.room_empty - static.room_full, 1)
    else:
        heat = HEAT
    fresh: list[Table] = []
    state = copy_state(start)
    table = make_table(instance, static, start, residual_energy(static))
    kept, added = np.zeros(2 * instance.mnl, np.int64), np.zeros(2 * instance.mnl, np.int64)
    idle, pace = 0, 0.0  # rounds without a better plan; seconds before one looks at its clock
    while (
        not clock.expired
        and clock.remaining > pace
        and best_value > bound + 1e-9
        and not (instance.mode == "live" and idle >= PATIENCE_LIVE)
    ):
        began = clock.elapsed
        which = int(rng.integers(len(ENERGIES)))
        while which >= len(fresh):
            scale, power = ENERGIES[len(fresh)]
            energy = residual_energy(static, power, scale)
            fresh.append(make_table(instance, static, start, energy))
        restore_state(state, start)
        restore_table(table, fresh[which])
        undone = rng.random(len(current) // 2) < rng.uniform(*UNDONE)
        n_kept = _replay(static, state, table, current, undone, kept)
        pace = max(pace, clock.elapsed - began)
        n_added, reached = greedy.greedy_plan(static, state, table, rng, True, added, clock)
        clock.evaluations += 1
        idle += 1
        if reached <= current_value + heat * rng.exponential():
            current = np.concatenate([kept[: 2 * n_kept], added[: 2 * n_added]])
            current_value = reached
        if reached < best_value - 1e-12:
            best, best_value, idle = current, reached, 0
            clock.incumbent(best)
    return best, best_value


def compile_ahead(instance: Cluster, static: Static, start: State) -> None:
    """Compile what `improve` alone needs, unless that is done: for methods that come to it on few
    clusters, and not on the one that they are warmed up by.

    Args:
        instance: any cluster.
        static: the same cluster as arrays.
        start: a state of it.
    """
    if not _replay.signatures:
        table = make_table(instance, static, start, residual_energy(static))
        plan, undone = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        _replay(static, copy_state(start), table, plan, undone, plan.copy())


@njit(cache=True)
def _replay(
    static: Static,
    state: State,
    table: Table,
    plan: np.ndarray,
    undone: np.ndarray,
    kept: np.ndarray,
) -> int:
    """Make the moves of a plan that are not undone and still legal.

    Args:
        static: the cluster.
        state: changed in place.
        table: the state's moves; changed in place.
        plan: int64 [2 * moves]; plies.
        undone: bool [moves].
        kept: int64; gets the plies of the moves made.

    Returns:
        The number of moves made.
    """
    made = 0
    for step in range(len(undone)):
        vm, to = plan[2 * step], plan[2 * step + 1]
        if not undone[step] and is_legal(static, state, vm, to // 2, to % 2):
            make_move(static, state, table, vm, to)
            kept[2 * made], kept[2 * made + 1] = vm, to
            made += 1
    return made
