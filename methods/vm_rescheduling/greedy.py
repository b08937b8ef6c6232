"""Make the move with the best gain until none gains: whole plans, or the rest of a plan."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import (
    MOVES,
    State,
    Static,
    copy_state,
    move,
    restore_state,
)
from ...envs.vm_rescheduling.objective import goal_reached, value
from .ejection import eject
from .gains import Table, copy_table, make_table, refresh_all, residual_energy, restore_table
from .moves import SAME, best_move, make_move

POWERS = (0.5, 4.0)
LIVE_PATIENCE = 50
CELLS_A_LOOK = 4_000_000  # gains that may be compared between two looks at the clock


def search(
    instance: Cluster,
    static: Static,
    start: State,
    clock: Clock,
    rng: np.random.Generator,
    seconds: float = math.inf,
    plans: int = 1 << 60,
) -> tuple[np.ndarray, float]:
    """Make greedy plans, restarted with other ties, and keep the best.

    Among equal gains the first plan takes the move with the lowest residual energy, then the first
    in order. Later plans draw the form of the energy and the order at random. In live mode the
    search ends after LIVE_PATIENCE plans without a better one.

    Args:
        instance: the cluster.
        static: the same cluster as arrays.
        start: the state in which every plan begins.
        clock: counts evaluations (plans), records incumbents, and ends the search.
        rng: draws energies and orders.
        seconds: wall-clock seconds after which the search ends.
        plans: number of plans after which the search ends.

    Returns:
        The best prefix of any plan, int64 plies, and its objective.
    """
    until = clock.elapsed + seconds
    saved = make_table(instance, static, start, residual_energy(static))
    state, table = copy_state(start), copy_table(saved)
    plies = np.zeros(2 * instance.mnl, np.int64)
    best, best_value = np.zeros(0, np.int64), value(static, start.totals)
    clock.incumbent(best)
    improved = 0
    for made in range(0 if goal_reached(static, start.totals) else plans):
        restore_state(state, start)
        restore_table(table, saved)
        if made > 0:
            table.energy[:] = residual_energy(static, rng.uniform(*POWERS))
            refresh_all(static, state, table)
        length, reached = greedy_plan(static, state, table, rng, made > 0, plies, clock, until)
        clock.evaluations += 1
        if reached < best_value - 1e-12:
            best, best_value = plies[: 2 * length].copy(), reached
            clock.incumbent(best)
            improved = made
        if instance.mode == "live" and made - improved >= LIVE_PATIENCE:
            break
        if clock.expired or clock.elapsed > until:
            break
    return best, best_value


def complete(
    instance: Cluster,
    static: Static,
    start: State,
    plan: np.ndarray,
    rng: np.random.Generator,
    clock: Clock,
) -> tuple[np.ndarray, float]:
    """Use up the moves that a legal plan leaves, greedily.

    Args:
        instance: the cluster.
        static: the same cluster as arrays.
        start: the state before the plan.
        plan: int64 plies of a legal plan.
        rng: draws which hosts of a large cluster are looked at for ejections.
        clock: ends the search.

    Returns:
        The longer plan, int64 plies, and its objective.
    """
    state = after(static, start, plan)
    table = make_table(instance, static, state, residual_energy(static))
    plies = np.zeros(2 * instance.mnl, np.int64)
    length, reached = greedy_plan(static, state, table, rng, False, plies, clock)
    return np.concatenate([plan, plies[: 2 * length]]), reached


def after(static: Static, start: State, plan: np.ndarray) -> State:
    """Play a legal plan.

    Args:
        static: the cluster.
        start: the state before the plan; not changed.
        plan: int64 [2 * moves]; plies: VM, destination node, VM, ...

    Returns:
        The state after the plan.
    """
    state = copy_state(start)
    _make_moves(static, state, np.ascontiguousarray(plan, np.int64))
    return state


@njit(cache=True)
def _make_moves(static: Static, state: State, plies: np.ndarray) -> None:
    for step in range(len(plies) // 2):
        vm, to = plies[2 * step], plies[2 * step + 1]
        move(static, state, vm, to // 2, to % 2)


def greedy_plan(
    static: Static,
    state: State,
    table: Table,
    rng: np.random.Generator,
    shuffle: bool,
    plies: np.ndarray,
    clock: Clock,
    until: float = math.inf,
) -> tuple[int, float]:
    """Make best moves, and ejections with deployment sets, until none gains or MNL is reached.

    Args:
        static: the cluster.
        state: where to begin; changed in place.
        table: the state's moves; changed in place.
        rng: draws where to look first, if `shuffle`, and for ejections.
        shuffle: whether ties go to a random move, not to the first in order.
        plies: int64 [2 * MNL]; the moves are written here.
        clock: ends the plan, wherever it is then.
        until: seconds into the run that end it likewise.

    Returns:
        The number of moves in the best prefix, and its objective.
    """
    most = max(1, CELLS_A_LOOK // table.enter.size)
    made, prefix, best = 0, 0, float(value(static, state.totals))
    going = True
    while going and min(clock.remaining, until - clock.elapsed) > 0.0:
        going, made, prefix, best = _greedy_moves(
            static, state, table, rng, shuffle, plies, most, made, prefix, best
        )
    return prefix, best


@njit(cache=True)
def _greedy_moves(
    static: Static,
    state: State,
    table: Table,
    rng: np.random.Generator,
    shuffle: bool,
    plies: np.ndarray,
    most: int,
    made: int,
    prefix: int,
    best: float,
) -> tuple[bool, int, int, float]:
    """Make about `most` further moves of a plan that has `made` moves, the best after `prefix`.

    See `greedy_plan`.

    Returns:
        Whether it may go on; moves made; moves in the best prefix; its objective.
    """
    kinds, nodes = table.enter.shape
    first_flavor, first_node = 0, 0
    chains = len(table.in_sets) > 0
    end = made + most
    while state.totals[MOVES] < static.mnl and not goal_reached(static, state.totals):
        if made >= end:
            return True, made, prefix, best
        if shuffle:
            first_flavor, first_node = int(rng.random() * kinds), int(rng.random() * nodes)
        gain, vm, to = best_move(static, state, table, first_flavor, first_node)
        if vm < 0 or gain <= SAME:
            more = eject(static, state, table, rng, plies, 2 * made) if chains else 0
            if more == 0:
                break
            made += more
        else:
            make_move(static, state, table, vm, to)
            plies[2 * made], plies[2 * made + 1] = vm, to
            made += 1
        reached = value(static, state.totals)
        if reached < best - 1e-12:
            best, prefix = reached, made
    return False, made, prefix, best
