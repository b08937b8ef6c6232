"""Moves made, undone and found by their gains (gains.py): by VM, by flavor and node, the best."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...envs.vm_rescheduling.dynamics import MOVES, State, Static, meets_sets, move
from .gains import BLOCK, ENTER, FLIP, LEAVE, NEVER, Table, link, refresh_pm, unlink

SAME = 1e-9
SPREAD = 4  # sources, and destinations, of different gain that top_moves pairs for each flavor


@njit(cache=True)
def make_move(static: Static, state: State, table: Table, vm: int, to: int) -> None:
    """Make a legal move and update the table.

    Args:
        static: the cluster.
        state: changed in place.
        table: the state's; changed in place.
        vm: the VM that moves.
        to: the node it moves to.
    """
    source, pm = state.vm_pm[vm], to // 2
    if static.vm_set_start[vm] == static.vm_set_start[vm + 1]:
        table.movable[static.vm_flavor[vm], 2 * source + state.vm_numa[vm]] -= 1
        table.movable[static.vm_flavor[vm], to] += 1
    move(static, state, vm, pm, to % 2)
    refresh_pm(static, state, table, source)
    if pm != source:
        unlink(table, vm, source)
        link(table, vm, pm)
        refresh_pm(static, state, table, pm)


@njit(cache=True)
def undo(static: Static, state: State, vm: int, pm: int, numa: int) -> None:
    """Take back a VM's last move, if its PMs took part in none since.

    Args:
        static: the cluster.
        state: changed in place.
        vm: the VM that was moved.
        pm: the PM it came from.
        numa: its node there.
    """
    source = state.vm_pm[vm]
    move(static, state, vm, pm, numa)
    state.totals[MOVES] -= 2
    state.pm_moves[source] -= 2
    if pm != source:
        state.pm_moves[pm] -= 2


@njit(cache=True)
def undo_move(static: Static, state: State, table: Table, vm: int, back: int) -> None:
    """Take back a VM's last move and update the table; see `undo`.

    Args:
        static: the cluster.
        state: changed in place.
        table: the state's; changed in place.
        vm: the VM that was moved.
        back: the node it came from.
    """
    source, pm = state.vm_pm[vm], back // 2
    if static.vm_set_start[vm] == static.vm_set_start[vm + 1]:
        table.movable[static.vm_flavor[vm], 2 * source + state.vm_numa[vm]] -= 1
        table.movable[static.vm_flavor[vm], back] += 1
    undo(static, state, vm, pm, back % 2)
    refresh_pm(static, state, table, source)
    if pm != source:
        unlink(table, vm, source)
        link(table, vm, pm)
        refresh_pm(static, state, table, pm)


@njit(cache=True)
def find_vm(static: Static, state: State, table: Table, flavor: int, node: int) -> int:
    """Find the first VM of a flavor on a node that may move and is in no deployment set.

    Args:
        static: the cluster.
        state: the state.
        table: the state's.
        flavor: the flavor.
        node: 2 * pm + numa; numa 0 for VMs on two nodes.

    Returns:
        The VM, or -1 if there is none.
    """
    found = -1
    vm = table.first[node // 2]
    while vm >= 0:
        if (
            (found < 0 or vm < found)
            and state.vm_numa[vm] == node % 2
            and static.vm_flavor[vm] == flavor
            and not static.vm_pinned[vm]
            and static.vm_set_start[vm] == static.vm_set_start[vm + 1]
        ):
            found = vm
        vm = table.after[vm]
    return found


@njit(cache=True)
def best_place(gains: np.ndarray, tops: np.ndarray, without: int, first: int) -> int:
    """Find the node with the best gain.

    Args:
        gains: float64 [N].
        tops: float64 [B]; bounds on the gains of each block of nodes, lowered where that is found.
        without: a PM whose nodes are passed over; -1 for none.
        first: the node to begin with; of equal gains the first met is taken.

    Returns:
        The node, or -1 if none has a gain above NEVER.
    """
    best, place = NEVER, -1
    n = len(gains)
    for part in range(2):
        at, end = (first, n) if part == 0 else (0, first)
        while at < end:
            block = at // BLOCK
            stop = min((block + 1) * BLOCK, end)
            if tops[block] > best + SAME:
                top = NEVER
                for i in range(at, stop):
                    top = max(top, gains[i])
                    if gains[i] > best + SAME and i // 2 != without:
                        best, place = gains[i], i
                if at == block * BLOCK and stop == min((block + 1) * BLOCK, n):
                    tops[block] = top
            at = stop
    return place


@njit(cache=True)
def best_source(
    leave: np.ndarray, tops: np.ndarray, movable: np.ndarray, without: int, first: int
) -> int:
    """Find the node with the best gain among those with a VM that may leave.

    Args:
        leave: float64 [N]; gains.
        tops: float64 [B]; bounds on the gains of each block of nodes, lowered where that is found.
        movable: int64 [N]; number of VMs that may leave.
        without: a PM whose nodes are passed over; -1 for none.
        first: the node to begin with; of equal gains the first met is taken.

    Returns:
        The node, or -1 if there is none.
    """
    best, place = NEVER, -1
    n = len(leave)
    for part in range(2):
        at, end = (first, n) if part == 0 else (0, first)
        while at < end:
            block = at // BLOCK
            stop = min((block + 1) * BLOCK, end)
            if tops[block] > best + SAME:
                top = NEVER
                for i in range(at, stop):
                    if movable[i] > 0:
                        top = max(top, leave[i])
                        if leave[i] > best + SAME and i // 2 != without:
                            best, place = leave[i], i
                if at == block * BLOCK and stop == min((block + 1) * BLOCK, n):
                    tops[block] = top
            at = stop
    return place


@njit(cache=True)
def best_move(
    static: Static, state: State, table: Table, first_flavor: int, first_node: int
) -> tuple[float, int, int]:
    """Find the legal move with the best gain.

    Args:
        static: the cluster.
        state: the state.
        table: the state's.
        first_flavor: the flavor to begin with; of equal gains the first met is taken.
        first_node: the node to begin with.

    Returns:
        Gain, VM and destination node; the VM is -1 if there is no legal move.
    """
    kinds = len(static.flavor_cpu)
    best, vm, to = NEVER, -1, -1
    flavor, source = -1, -1
    top_enter = np.full(kinds, NEVER)
    for i in range(kinds):
        f = (i + first_flavor) % kinds
        movable = table.movable[f]
        leave_tops, enter_tops = table.tops[LEAVE, f], table.tops[ENTER, f]
        into = best_place(table.enter[f], enter_tops, -1, first_node)
        if into >= 0:
            top_enter[f] = table.enter[f, into]
            out = best_source(table.leave[f], leave_tops, movable, -1, first_node)
            if out >= 0 and table.leave[f, out] + top_enter[f] > best + SAME:
                if out // 2 != into // 2:
                    best, flavor, source, to = table.leave[f, out] + top_enter[f], f, out, into
                else:
                    other = best_place(table.enter[f], enter_tops, out // 2, first_node)
                    if other >= 0 and table.leave[f, out] + table.enter[f, other] > best + SAME:
                        best = table.leave[f, out] + table.enter[f, other]
                        flavor, source, to = f, out, other
                    other = best_source(table.leave[f], leave_tops, movable, into // 2, first_node)
                    if other >= 0 and table.leave[f, other] + top_enter[f] > best + SAME:
                        best = table.leave[f, other] + top_enter[f]
                        flavor, source, to = f, other, into
        if static.flavor_nodes[f] == 1:
            out = best_source(table.flip[f], table.tops[FLIP, f], movable, -1, first_node)
            if out >= 0 and table.flip[f, out] > best + SAME:
                best, flavor, source, to = table.flip[f, out], f, out, out ^ 1
    for k in range(len(table.in_sets)):
        member = table.in_sets[(k + first_node) % len(table.in_sets)]
        f = static.vm_flavor[member]
        at = 2 * state.vm_pm[member] + state.vm_numa[member]
        leave = table.leave[f, at]
        if leave > NEVER and leave + top_enter[f] > best + SAME:
            for node in range(table.enter.shape[1]):
                gain = leave + table.enter[f, node]
                other_pm = node // 2 != at // 2
                if gain > best + SAME and other_pm and meets_sets(static, state, member, node // 2):
                    best, vm, source, to = gain, member, -1, node
        flips = static.flavor_nodes[f] == 1 and table.flip[f, at] > best + SAME
        if flips and meets_sets(static, state, member, at // 2):
            best, vm, source, to = table.flip[f, at], member, -1, at ^ 1
    if source >= 0:
        vm = find_vm(static, state, table, flavor, source)
    return best, vm, to


@njit(cache=True)
def top_moves(
    static: Static, state: State, table: Table, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List legal moves with the best gains, the best first.

    Of each flavor the best SPREAD sources and destinations of different gain are paired, so that
    the moves differ in more than which of many equal nodes they touch.

    Args:
        static: the cluster.
        state: the state.
        table: the state's.
        most: the largest number of moves to list.

    Returns:
        Gains float64 [M], VMs int64 [M], and destination nodes int64 [M]; M <= most.
    """
    kinds = len(static.flavor_cpu)
    room = kinds * SPREAD * (SPREAD + 1) + len(table.in_sets)
    gains = np.empty(room)
    vms = np.empty(room, np.int64)
    source = np.empty(room, np.int64)
    to = np.empty(room, np.int64)
    made = 0
    sources = np.empty(SPREAD, np.int64)
    places = np.empty((kinds, SPREAD), np.int64)
    for f in range(kinds):
        n_places = _best_distinct(table.enter[f], table.movable[f], False, places[f])
        n_sources = _best_distinct(table.leave[f], table.movable[f], True, sources)
        for i in range(n_sources):
            for j in range(n_places):
                if sources[i] // 2 != places[f, j] // 2:
                    gains[made] = table.leave[f, sources[i]] + table.enter[f, places[f, j]]
                    vms[made], source[made], to[made] = f, sources[i], places[f, j]
                    made += 1
        if static.flavor_nodes[f] == 1:
            n_sources = _best_distinct(table.flip[f], table.movable[f], True, sources)
            for i in range(n_sources):
                gains[made] = table.flip[f, sources[i]]
                vms[made], source[made], to[made] = f, sources[i], sources[i] ^ 1
                made += 1
    for k in range(len(table.in_sets)):
        vm = table.in_sets[k]
        f = static.vm_flavor[vm]
        at = 2 * state.vm_pm[vm] + state.vm_numa[vm]
        for j in range(SPREAD):
            place = places[f, j]
            if place < 0 or table.leave[f, at] == NEVER:
                break
            if place // 2 != at // 2 and meets_sets(static, state, vm, place // 2):
                gains[made] = table.leave[f, at] + table.enter[f, place]
                vms[made], source[made], to[made] = vm, -1, place
                made += 1
                break
    order = np.argsort(-gains[:made])[:most]
    for i in order:
        if source[i] >= 0:
            vms[i] = find_vm(static, state, table, vms[i], source[i])
    return gains[order], vms[order], to[order]


@njit(cache=True)
def _best_distinct(gains: np.ndarray, movable: np.ndarray, leaving: bool, at: np.ndarray) -> int:
    """Write the nodes with the best gains, no two alike, to `at` (the rest -1); return how many."""
    at[:] = -1
    for found in range(len(at)):
        best = NEVER
        for node in range(len(gains)):
            gain = gains[node]
            new = found == 0 or gain < gains[at[found - 1]] - SAME
            if new and gain > best + SAME and (not leaving or movable[node] > 0):
                best, at[found] = gain, node
        if at[found] < 0:
            return found
    return len(at)
