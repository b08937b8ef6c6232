"""Turn counts into moves: which VMs leave and enter where -> an order of moves that is legal.

Methods that count VMs (columns, milp, cpsat, pop) say only how many VMs of a flavor leave and enter
each node. Here VMs are matched to places and put in an order in which every move is legal when its
turn comes; places that no VM can legally enter are left out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...envs.vm_rescheduling.dynamics import (
    State,
    Static,
    copy_state,
    is_legal,
    move,
    restore_state,
)
from ...envs.vm_rescheduling.objective import value

TRIES = 12


def expand(
    static: Static,
    start: State,
    leaving: np.ndarray,
    entering: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Find the best legal order of moves for given counts.

    Args:
        static: the cluster.
        start: the state before the plan.
        leaving: int64 [M, 3]; flavor, PM and node (0 for two-node flavors), one row for each VM.
        entering: int64 [M, 3]; the same for the places to fill.
        rng: draws the orders of all tries but the first.

    Returns:
        The plan (int64 plies) and its objective. Of an order that gets stuck, the part before; of
        any, the best prefix.
    """
    state = copy_state(start)
    best, best_value = np.zeros(0, np.int64), value(static, start.totals)
    plies = np.zeros(2 * len(entering), np.int64)
    for _ in range(TRIES):
        restore_state(state, start)
        done, prefix, reached = _carry_out(static, state, leaving, entering, plies)
        if reached < best_value - 1e-12:
            best, best_value = plies[: 2 * prefix].copy(), reached
        if done == len(entering):
            break
        leaving = leaving[rng.permutation(len(leaving))]
        entering = entering[rng.permutation(len(entering))]
    return best, best_value


@njit(cache=True)
def _carry_out(
    static: Static, state: State, leaving: np.ndarray, entering: np.ndarray, plies: np.ndarray
) -> tuple[int, int, float]:
    """Fill the places in rounds, each as soon as some VM may legally take it.

    Args:
        static: the cluster.
        state: changed in place.
        leaving: int64 [M, 3]; see `expand`.
        entering: int64 [M, 3]; see `expand`.
        plies: int64 [2 M]; the moves are written here.

    Returns:
        Places filled; moves in the best prefix; its objective.
    """
    count = len(entering)
    placed = np.zeros(count, np.bool_)
    gone = np.zeros(len(leaving), np.bool_)
    vms_of_row, row_start = _candidates(static, state, leaving)
    moved = np.zeros(len(static.vm_flavor), np.bool_)
    done, prefix, best = 0, 0, value(static, state.totals)
    progress = True
    while progress and done < count:
        progress = False
        for i in range(count):
            if placed[i]:
                continue
            vm, row = _legal_vm(
                static, state, leaving, gone, vms_of_row, row_start, moved, entering[i]
            )
            if vm < 0:
                continue
            pm, node = entering[i, 1], entering[i, 2]
            move(static, state, vm, pm, node)
            placed[i] = gone[row] = moved[vm] = progress = True
            plies[2 * done] = vm
            plies[2 * done + 1] = 2 * pm + node
            done += 1
            reached = value(static, state.totals)
            if reached < best - 1e-12:
                best, prefix = reached, done
    return done, prefix, best


@njit(cache=True)
def _candidates(static: Static, state: State, leaving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the VMs that can serve each leaving row, those in no deployment set first.

    Returns:
        VMs, int64, and int64 [M + 1]: those of row r are vms[start[r]:start[r + 1]].
    """
    rows = len(leaving)
    row_start = np.zeros(rows + 1, np.int64)
    vms = np.empty(rows * 64, np.int64)
    made = 0
    for r in range(rows):
        flavor, pm, node = leaving[r]
        for in_sets in range(2):
            for vm in range(len(static.vm_flavor)):
                if (
                    state.vm_pm[vm] == pm
                    and static.vm_flavor[vm] == flavor
                    and state.vm_numa[vm] == node
                    and not static.vm_pinned[vm]
                    and (static.vm_set_start[vm + 1] > static.vm_set_start[vm]) == (in_sets == 1)
                    and made < len(vms)
                ):
                    vms[made] = vm
                    made += 1
        row_start[r + 1] = made
    return vms, row_start


@njit(cache=True)
def _legal_vm(
    static: Static,
    state: State,
    leaving: np.ndarray,
    gone: np.ndarray,
    vms_of_row: np.ndarray,
    row_start: np.ndarray,
    moved: np.ndarray,
    place: np.ndarray,
) -> tuple[int, int]:
    """Find a VM that may legally enter `place`; return it and its leaving row, or -1 and -1."""
    for row in range(len(leaving)):
        if gone[row] or leaving[row, 0] != place[0]:
            continue
        for i in range(row_start[row], row_start[row + 1]):
            vm = vms_of_row[i]
            if not moved[vm] and is_legal(static, state, vm, place[1], place[2]):
                return vm, row
    return -1, -1
