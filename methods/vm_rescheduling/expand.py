"""Turn counts into moves: which VMs leave and enter where -> an order of moves that is legal.

Methods that count VMs (columns, milp, cpsat, pop) say only how many VMs of a flavor leave and enter
each node. Here VMs are matched to places and put in an order in which every move is legal when its
turn comes. Where deployment sets bar every VM that is to leave from a place, one of its flavor
goes there from a third host, whose room the VM then takes (or by more such steps): the counts stay
the same, at the cost of a move. Places that no VM can legally enter are left out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...datasets.vm_rescheduling.instance import ACTIVE
from ...envs.vm_rescheduling.dynamics import (
    State,
    Static,
    copy_state,
    is_legal,
    move,
    restore_state,
)
from ...envs.vm_rescheduling.objective import value
from .moves import undo

TRIES = 12
STEPS = 4  # the most moves by which one VM's room passes to the next
FRONT = 64  # VMs from which such a chain is continued


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
    plies = np.zeros(2 * static.mnl, np.int64)
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

    Where a round fills none, VMs change places through third hosts.

    Args:
        static: the cluster.
        state: changed in place.
        leaving: int64 [M, 3]; see `expand`.
        entering: int64 [M, 3]; see `expand`.
        plies: int64 [2 * MNL]; the moves are written here.

    Returns:
        Places filled; moves in the best prefix; its objective.
    """
    count = len(entering)
    placed = np.zeros(count, np.bool_)
    gone = np.zeros(len(leaving), np.bool_)
    vms_of_row, row_start = _candidates(static, state, leaving)
    moved = np.zeros(len(static.vm_flavor), np.bool_)
    done, made, prefix, best = 0, 0, 0, value(static, state.totals)
    apart = len(static.set_vms) > 0
    exchange, progress = False, True
    while (progress or not exchange) and done < count:
        exchange = apart and not progress
        progress = False
        for i in range(count):
            if placed[i]:
                continue
            pm, node = entering[i, 1], entering[i, 2]
            if exchange:
                more, row = _exchange(
                    static, state, leaving, gone, vms_of_row, row_start, moved,
                    entering[i], plies[2 * made :],
                )  # fmt: skip
                if more == 0:
                    continue
            else:
                vm, row = _legal_vm(
                    static, state, leaving, gone, vms_of_row, row_start, moved, entering[i]
                )
                if vm < 0:
                    continue
                move(static, state, vm, pm, node)
                plies[2 * made], plies[2 * made + 1] = vm, 2 * pm + node
                more = 1
            for step in range(made, made + more):
                moved[plies[2 * step]] = True
            placed[i] = gone[row] = progress = True
            made += more
            done += 1
            reached = value(static, state.totals)
            if reached < best - 1e-12:
                best, prefix = reached, made
        if not apart and not progress:
            break
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
    first = np.full(len(static.pm_status), -1, np.int64)  # chains of the VMs on each PM, in order
    after = np.full(len(static.vm_flavor), -1, np.int64)
    for vm in range(len(static.vm_flavor) - 1, -1, -1):
        after[vm] = first[state.vm_pm[vm]]
        first[state.vm_pm[vm]] = vm
    made = 0
    for r in range(rows):
        flavor, pm, node = leaving[r]
        for in_sets in range(2):
            vm = first[pm]
            while vm >= 0:
                if (
                    static.vm_flavor[vm] == flavor
                    and state.vm_numa[vm] == node
                    and not static.vm_pinned[vm]
                    and (static.vm_set_start[vm + 1] > static.vm_set_start[vm]) == (in_sets == 1)
                    and made < len(vms)
                ):
                    vms[made] = vm
                    made += 1
                vm = after[vm]
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


@njit(cache=True)
def _exchange(
    static: Static,
    state: State,
    leaving: np.ndarray,
    gone: np.ndarray,
    vms_of_row: np.ndarray,
    row_start: np.ndarray,
    moved: np.ndarray,
    place: np.ndarray,
    plies: np.ndarray,
) -> tuple[int, int]:
    """Fill `place` by the shortest chain of VMs of its flavor, each taking the one before's room.

    The last VM of the chain is one that is to leave. As all have the same flavor, only deployment
    sets, pins and host status can be in the way.

    Args:
        static: the cluster.
        state: changed in place.
        leaving: int64 [M, 3]; see `expand`.
        gone: bool [M]; rows whose VM has left.
        vms_of_row: int64; see `_candidates`.
        row_start: int64 [M + 1]; see `_candidates`.
        moved: bool [V]; VMs moved already.
        place: int64 [3]; flavor, PM and node to fill.
        plies: int64; the moves are written here.

    Returns:
        The number of moves, 0 where there is no chain; and the row of `leaving` served.
    """
    flavor = place[0]
    front, parent = np.empty(FRONT, np.int64), np.empty(FRONT, np.int64)
    depth = np.zeros(FRONT + 1, np.int64)  # of entry i at i + 1; the place itself at 0
    row_of = np.full(len(moved), -1, np.int64)
    for row in range(len(leaving)):
        if not gone[row] and leaving[row, 0] == flavor:
            for i in range(row_start[row], row_start[row + 1]):
                if not moved[vms_of_row[i]]:
                    row_of[vms_of_row[i]] = row
    others = np.flatnonzero(static.vm_flavor == flavor)
    seen = moved.copy()
    size = 0
    at = size - 1  # for a literal -1, `_pass_on` would be compiled a second time
    while at < size:
        pm, node, left = place[1], place[2], -1
        if at >= 0:
            left = front[at]
            pm, node = state.vm_pm[left], state.vm_numa[left]
        for vm in others:
            last = row_of[vm] >= 0
            if seen[vm] or (not last and (size == FRONT or depth[at + 1] >= STEPS - 1)):
                continue
            if _may_take(static, state, vm, pm, node, left):
                if last:
                    made = _pass_on(static, state, vm, at, front, parent, place, plies)
                    if made > 0:
                        return made, row_of[vm]
                    continue
                seen[vm] = True
                front[size], parent[size], depth[size + 1] = vm, at, depth[at + 1] + 1
                size += 1
        at += 1
    return 0, -1


@njit(cache=True)
def _may_take(static: Static, state: State, vm: int, pm: int, node: int, left: int) -> bool:
    """Whether a VM may enter a node once the VM `left` (-1: none) has made room for it there."""
    here = state.vm_pm[vm] == pm
    if (
        static.vm_pinned[vm]
        or static.pm_status[pm] != ACTIVE
        or (here and state.vm_numa[vm] == node)
    ):
        return False
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        group = static.vm_sets[i]
        for other in static.set_vms[static.set_start[group] : static.set_start[group + 1]]:
            host = state.vm_pm[other]
            near = static.set_by_rack[group] and static.pm_rack[host] == static.pm_rack[pm]
            if other != vm and other != left and (host == pm or near):
                return False
    return True


@njit(cache=True)
def _pass_on(
    static: Static,
    state: State,
    vm: int,
    at: int,
    front: np.ndarray,
    parent: np.ndarray,
    place: np.ndarray,
    plies: np.ndarray,
) -> int:
    """Make the moves of a chain from its end to `vm`, or take them back if one is not legal.

    Args:
        static: the cluster.
        state: changed in place.
        vm: the VM that is to leave.
        at: entry of `front` whose room it takes; -1 for the place itself.
        front: int64 [FRONT]; VMs.
        parent: int64 [FRONT]; the entry whose room each takes; -1 for the place.
        place: int64 [3]; flavor, PM and node to fill.
        plies: int64; the moves are written here.

    Returns:
        The number of moves; 0 if they were taken back.
    """
    chain = np.empty(STEPS + 1, np.int64)
    chain[0], count = vm, 1
    while at >= 0:
        chain[count] = front[at]
        at = parent[at]
        count += 1
    pm, node = place[1], place[2]
    came_from = np.empty((count, 2), np.int64)
    for k in range(count):
        who = chain[count - 1 - k]
        came_from[k, 0], came_from[k, 1] = state.vm_pm[who], state.vm_numa[who]
        if not is_legal(static, state, who, pm, node):
            for back in range(k - 1, -1, -1):
                undo(static, state, plies[2 * back], came_from[back, 0], came_from[back, 1])
            return 0
        move(static, state, who, pm, node)
        plies[2 * k], plies[2 * k + 1] = who, 2 * pm + node
        pm, node = came_from[k, 0], came_from[k, 1]
    return count
