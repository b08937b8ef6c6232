"""Plans without idle moves: what can be left out of a plan at no loss is left out.

Every migration costs its operator something, so a plan of fewer moves and the same objective is the
better one. Models that count VMs do not price moves, and a search makes some that later ones undo.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...core.solution import Solution, Status
from ...datasets.vm_rescheduling.instance import ACTIVE
from ...envs.vm_rescheduling.dynamics import (
    FRAGMENT_RATE,
    State,
    Static,
    copy_state,
    is_legal,
    move,
)
from ...envs.vm_rescheduling.objective import goal_reached, value

WORK = 40_000  # moves replayed at most, some 20 milliseconds


def finish(
    clock: Clock,
    static: Static,
    start: State,
    plan: np.ndarray,
    status: Status = "feasible",
    bound: float | None = None,
) -> Solution:
    """Return a plan without its idle moves as the run's solution.

    Args:
        clock: the run's clock.
        static: the cluster.
        start: the state before the plan.
        plan: int64 plies of a legal plan.
        status: "optimal" if the method proves that no plan is better.
        bound: proven bound on the objective; None without a proof.
    """
    return clock.solution(without_idle_moves(static, start, plan), status, bound)


def without_idle_moves(static: Static, start: State, plan: np.ndarray) -> np.ndarray:
    """Leave out moves, alone or by two that touch one PM, as long as nothing is lost by it.

    What remains keeps its order, is legal move by move, and its objective is no worse; no single
    move can be left out of it any more (of very long plans, as far as WORK allows).

    Args:
        static: the cluster.
        start: the state before the plan; not changed.
        plan: int64 [2 * moves]; plies of a legal plan.

    Returns:
        The shorter plan, int64 plies.
    """
    plies = np.ascontiguousarray(plan, np.int64)
    keep = _needed(static, start, copy_state(start), plies)
    return np.asarray(plies.reshape(-1, 2)[keep].ravel())


@njit(cache=True)
def _needed(static: Static, start: State, state: State, plies: np.ndarray) -> np.ndarray:
    """Mark the moves that are not left out: bool [moves]; `state` is scratch."""
    count = len(plies) // 2
    keep = np.ones(count, np.bool_)
    at_start = start.vm_pm[plies[::2]]
    touched = np.zeros((count, 2), np.int64)
    worst = _replay(static, start, state, plies, at_start, keep, touched) + 1e-12
    counted = _counted(static, plies)
    free = state.free_cpu.copy()  # after the moves that are kept
    work = 0
    changed = True
    while changed:
        changed = False
        for i in range(count - 1, -1, -1):
            if keep[i] and work < WORK:
                if counted[i] and _closed(static, start, free, plies, i, i) > 0:
                    continue
                keep[i] = False
                work += count
                if _replay(static, start, state, plies, at_start, keep, touched) <= worst:
                    changed = True
                    free[:] = state.free_cpu
                else:
                    keep[i] = True
        if changed:
            continue
        _replay(static, start, state, plies, at_start, keep, touched)
        at = touched.copy()
        for i in range(count - 1, 0, -1):
            if work >= WORK:
                break
            for j in range(i - 1, -1, -1):
                if not keep[i] or not keep[j] or work >= WORK:
                    continue
                meet = at[i, 0] == at[j, 0] or at[i, 0] == at[j, 1]
                if not (meet or at[i, 1] == at[j, 0] or at[i, 1] == at[j, 1]):
                    continue
                if counted[i] and counted[j] and _closed(static, start, free, plies, i, j) > 0:
                    continue
                keep[i] = keep[j] = False
                work += count
                if _replay(static, start, state, plies, at_start, keep, touched) <= worst:
                    changed = True
                    free[:] = state.free_cpu
                else:
                    keep[i] = keep[j] = True
    return keep


@njit(cache=True)
def _counted(static: Static, plies: np.ndarray) -> np.ndarray:
    """Mark the moves without which the fragments can be counted, bool [moves]: each VM's only one,
    where fragments are the objective.
    """
    simple = static.objective == FRAGMENT_RATE and static.plain == 1
    simple = simple and bool((static.pm_status == ACTIVE).all())
    times = np.zeros(len(static.vm_flavor), np.int64)
    for vm in plies[::2]:
        times[vm] += 1
    marked: np.ndarray = simple & (times[plies[::2]] == 1)
    return marked


@njit(cache=True)
def _closed(
    static: Static, start: State, free: np.ndarray, plies: np.ndarray, i: int, j: int
) -> int:
    """Return by how many free cores the fragments grow if moves i and j are not made.

    Args:
        static: the cluster.
        start: the state before the plan.
        free: int64 [P, 2]; free CPU after it; changed only on the way.
        plies: int64 [2 * moves].
        i: a move.
        j: another one, or the same.
    """
    grown: int = _undo(static, start, free, plies, i, 1)
    if j != i:
        grown += _undo(static, start, free, plies, j, 1)
        _undo(static, start, free, plies, j, -1)
    _undo(static, start, free, plies, i, -1)
    return grown


@njit(cache=True)
def _undo(
    static: Static, start: State, free: np.ndarray, plies: np.ndarray, i: int, sign: int
) -> int:
    """Take a move back in `free` (sign 1), or make it again (-1); return the fragments added."""
    vm, dest, grown = plies[2 * i], plies[2 * i + 1], 0
    kind = static.vm_flavor[vm]
    cpu, both = static.flavor_cpu[kind], static.flavor_nodes[kind] == 2
    for pm, numa, change in (
        (start.vm_pm[vm], start.vm_numa[vm], -cpu), (dest // 2, dest % 2, cpu)
    ):  # fmt: skip
        for node in range(2):
            if both or node == numa:
                grown -= free[pm, node] % static.unit
                free[pm, node] += sign * change
                grown += free[pm, node] % static.unit
    return grown


@njit(cache=True)
def _replay(
    static: Static,
    start: State,
    state: State,
    plies: np.ndarray,
    at_start: np.ndarray,
    keep: np.ndarray,
    touched: np.ndarray,
) -> float:
    """Play the moves that are kept.

    Args:
        static: the cluster.
        start: the state before the plan.
        state: scratch; equal to the start but for what moves of the plan change.
        plies: int64 [2 * moves].
        at_start: int64 [moves]; PM of each move's VM before the plan.
        keep: bool [moves].
        touched: int64 [moves, 2]; gets the source and the destination PM of each move.

    Returns:
        The objective; infinity if a move is not legal when its turn comes.
    """
    for i in range(len(keep)):
        vm = plies[2 * i]
        state.vm_pm[vm], state.vm_numa[vm] = start.vm_pm[vm], start.vm_numa[vm]
        for pm in (at_start[i], plies[2 * i + 1] // 2):
            state.free_cpu[pm] = start.free_cpu[pm]
            state.free_mem[pm] = start.free_mem[pm]
            state.pm_moves[pm] = start.pm_moves[pm]
    state.totals[:] = start.totals
    for i in range(len(keep)):
        if not keep[i]:
            continue
        vm, pm, numa = plies[2 * i], plies[2 * i + 1] // 2, plies[2 * i + 1] % 2
        if goal_reached(static, state.totals) or not is_legal(static, state, vm, pm, numa):
            return np.inf
        touched[i, 0], touched[i, 1] = state.vm_pm[vm], pm
        move(static, state, vm, pm, numa)
    return float(value(static, state.totals))
