"""Ejections: moves of VMs out of the way, then the move that they were in the way of.

Where deployment sets keep VMs apart, a cluster may have no single move that gains although a slot
is two or three moves away: the host that a replica could go to is full, and the one with room holds
its sibling. An ejection sends one or two VMs of the destination elsewhere (or a sibling out of its
rack) and then makes the move; each of its moves is legal when its turn comes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...envs.vm_rescheduling.dynamics import MOVES, State, Static, is_legal
from .gains import NEVER, Table, gain_of, pm_cost_after
from .moves import find_vm, make_move, undo_move

LEAST_CORES = 0.25  # an ejection that gains less is not made: it would only trade energy
HOSTS = 64  # destinations looked at in one search; a part of a large cluster, drawn at random
TRIED = 6  # of the ejections that promise most, how many are tried
MOST_OUT = 2  # VMs sent away
ITEMS = 24  # kinds of VMs looked at on one host
# Columns of a candidate: mover (-1: any VM of the flavor at its node), its flavor, its node, its
# destination; then flavor, node and VM (-1: any) of each VM sent away, flavor -1 for none.
MOVER, FLAVOR, SOURCE, TO, OUT = range(5)
WIDTH = OUT + 3 * MOST_OUT


@njit(cache=True)
def eject(
    static: Static, state: State, table: Table, rng: np.random.Generator, plies: np.ndarray, at: int
) -> int:
    """Make the ejection of the largest gain.

    Args:
        static: the cluster.
        state: changed in place.
        table: the state's moves; changed in place.
        rng: draws which hosts of a large cluster are looked at.
        plies: int64; the moves are written to plies[at:].
        at: an even number.

    Returns:
        The number of moves made; 0 where no ejection gains LEAST_CORES.
    """
    least = LEAST_CORES * static.unit / 16
    spare = int(static.mnl - state.totals[MOVES])
    if spare < 2:
        return 0
    promise = np.full(TRIED, least)
    found = np.full((TRIED, WIDTH), -1, np.int64)
    movers = _movers(static, state, table)
    if len(movers) == 0:
        return 0
    _find_places(static, state, table, movers, rng, min(MOST_OUT, spare - 1), promise, found)
    _find_siblings(static, state, table, promise, found)
    for i in np.argsort(-promise):
        if promise[i] > least:
            made: int = _carry_out(static, state, table, found[i], least, plies, at)
            if made > 0:
                return made
    return 0


@njit(cache=True)
def _movers(static: Static, state: State, table: Table) -> np.ndarray:
    """List VMs whose leaving gains: of each flavor the best one in no set, and all set members.

    Returns:
        int64 [n, 3]; columns MOVER, FLAVOR and SOURCE.
    """
    kinds, nodes = table.leave.shape
    rows = np.empty((kinds + len(table.in_sets), 3), np.int64)
    made = 0
    for f in range(kinds):
        best, source = 0.0, -1
        for node in range(nodes):
            if table.movable[f, node] > 0 and table.leave[f, node] > best:
                best, source = table.leave[f, node], node
        if source >= 0:
            rows[made, MOVER], rows[made, FLAVOR], rows[made, SOURCE] = -1, f, source
            made += 1
    for vm in table.in_sets:
        f, node = static.vm_flavor[vm], 2 * state.vm_pm[vm] + state.vm_numa[vm]
        if table.leave[f, node] > 0.0:
            rows[made, MOVER], rows[made, FLAVOR], rows[made, SOURCE] = vm, f, node
            made += 1
    return rows[:made]


@njit(cache=True)
def _keep(
    promise: np.ndarray, found: np.ndarray, gain: float, mover: np.ndarray, to: int, out: np.ndarray
) -> None:
    """Put a candidate in place of the one that promises least, if it promises more."""
    i = promise.argmin()
    if gain > promise[i]:
        promise[i] = gain
        found[i, :TO] = mover
        found[i, TO] = to
        found[i, OUT:] = out


@njit(cache=True)
def _find_places(
    static: Static,
    state: State,
    table: Table,
    movers: np.ndarray,
    rng: np.random.Generator,
    most_out: int,
    promise: np.ndarray,
    found: np.ndarray,
) -> None:
    """Look for hosts where a mover has room, and no sibling, once one or two VMs have left.

    What the VMs sent away gain is taken from the best node that has room for each.

    Args:
        static: the cluster.
        state: its state.
        table: the state's moves.
        movers: int64 [n, 3]; of `_movers`.
        rng: draws which hosts of a large cluster are looked at.
        most_out: the most VMs to send away.
        promise: float64 [TRIED]; gains of the best candidates; changed in place.
        found: int64 [TRIED, WIDTH]; the candidates; changed in place.
    """
    kinds, nodes = table.leave.shape
    pms = nodes // 2
    member = np.zeros((kinds, nodes), np.int64)
    for vm in table.in_sets:
        member[static.vm_flavor[vm], 2 * state.vm_pm[vm] + state.vm_numa[vm]] += 1
    top_enter = np.full(kinds, NEVER)
    top_leave = np.full(kinds, NEVER)
    for f in range(kinds):
        top_enter[f] = table.enter[f].max()
    for i in range(len(movers)):
        f = movers[i, FLAVOR]
        top_leave[f] = max(top_leave[f], table.leave[f, movers[i, SOURCE]])
    item_f, item_at = np.empty(ITEMS, np.int64), np.empty(ITEMS, np.int64)
    out = np.full(3 * MOST_OUT, -1, np.int64)
    first = int(rng.random() * pms)
    for step in range(min(pms, HOSTS)):
        pm = (first + step) % pms
        items = 0
        for f in range(kinds):
            for node in range(2 * pm, 2 * pm + static.pm_nodes[pm]):
                there = table.movable[f, node] + member[f, node]
                if there > 0 and top_enter[f] > NEVER and table.leave[f, node] > NEVER:
                    for _ in range(min(there, most_out)):
                        if items < ITEMS:
                            item_f[items], item_at[items] = f, node
                            items += 1
        for f in range(kinds):
            if top_leave[f] == NEVER:
                continue
            for to in range(2 * pm, 2 * pm + static.pm_nodes[pm]):
                if static.flavor_nodes[f] == 2 and (to % 2 == 1 or static.pm_nodes[pm] == 1):
                    continue
                for i in range(items):
                    for j in range(i, items if most_out > 1 else i + 1):
                        rest = top_leave[f] + top_enter[item_f[i]]
                        out[0], out[1] = item_f[i], item_at[i]
                        out[3] = out[4] = -1
                        if j > i:
                            rest += top_enter[item_f[j]]
                            out[3], out[4] = item_f[j], item_at[j]
                        gain = rest + pm_cost_after(
                            static, state, table, to, f, out[0], out[1], out[3], out[4]
                        )
                        if gain <= promise.min():
                            continue
                        for m in range(len(movers)):
                            at = movers[m, SOURCE]
                            less = top_leave[f] - table.leave[f, at]
                            if movers[m, FLAVOR] != f or at // 2 == pm:
                                continue
                            if gain - less > promise.min() and _apart(
                                static, state, table, movers[m, MOVER], pm, out
                            ):
                                _keep(promise, found, gain - less, movers[m], to, out)


@njit(cache=True)
def _apart(static: Static, state: State, table: Table, vm: int, pm: int, out: np.ndarray) -> bool:
    """Whether a VM may meet those on a host once VMs of the kinds in `out` have left it."""
    if vm < 0:
        return True
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        group = static.vm_sets[i]
        for other in static.set_vms[static.set_start[group] : static.set_start[group + 1]]:
            host = state.vm_pm[other]
            if other == vm or (
                host != pm
                and not (static.set_by_rack[group] and static.pm_rack[host] == static.pm_rack[pm])
            ):
                continue
            node = 2 * host + state.vm_numa[other]
            goes = False
            for k in range(MOST_OUT):
                f, at = out[3 * k], out[3 * k + 1]
                goes |= at == node and static.vm_flavor[other] == f and table.movable[f, at] == 0
            if not goes:
                return False
    return True


@njit(cache=True)
def _find_siblings(
    static: Static, state: State, table: Table, promise: np.ndarray, found: np.ndarray
) -> None:
    """Look for nodes with room for a set member where one sibling is all that is in the way.

    Args:
        static: the cluster.
        state: its state.
        table: the state's moves.
        promise: float64 [TRIED]; gains of the best candidates; changed in place.
        found: int64 [TRIED, WIDTH]; the candidates; changed in place.
    """
    out = np.full(3 * MOST_OUT, -1, np.int64)
    mover = np.empty(3, np.int64)
    for vm in table.in_sets:
        f, source = static.vm_flavor[vm], 2 * state.vm_pm[vm] + state.vm_numa[vm]
        leave = table.leave[f, source]
        if leave == NEVER:
            continue
        for to in range(table.enter.shape[1]):
            gain = leave + table.enter[f, to]
            if gain <= promise.min() or to // 2 == source // 2:
                continue
            sibling = _only_sibling(static, state, vm, to // 2)
            if sibling < 0 or static.vm_pinned[sibling]:
                continue
            g, at = static.vm_flavor[sibling], 2 * state.vm_pm[sibling] + state.vm_numa[sibling]
            gain += table.leave[g, at] + table.enter[g].max()
            if gain > promise.min():
                mover[MOVER], mover[FLAVOR], mover[SOURCE] = vm, f, source
                out[0], out[1], out[2] = g, at, sibling
                _keep(promise, found, gain, mover, to, out)


@njit(cache=True)
def _only_sibling(static: Static, state: State, vm: int, pm: int) -> int:
    """Find the one VM whose deployment sets bar `vm` from a host; -1 if there is none or more."""
    sibling = -1
    for i in range(static.vm_set_start[vm], static.vm_set_start[vm + 1]):
        group = static.vm_sets[i]
        for other in static.set_vms[static.set_start[group] : static.set_start[group + 1]]:
            host = state.vm_pm[other]
            near = static.set_by_rack[group] and static.pm_rack[host] == static.pm_rack[pm]
            if other != vm and (host == pm or near):
                if sibling >= 0 and sibling != other:
                    return -1
                sibling = other
    return sibling


@njit(cache=True)
def _carry_out(
    static: Static,
    state: State,
    table: Table,
    candidate: np.ndarray,
    least: float,
    plies: np.ndarray,
    at: int,
) -> int:
    """Make the moves of a candidate, or take them back if one is illegal or they gain too little.

    Args:
        static: the cluster.
        state: changed in place.
        table: the state's moves; changed in place.
        candidate: int64 [WIDTH].
        least: the least gain, in the instance's unit of CPU.
        plies: int64; the moves are written to plies[at:].
        at: an even number.

    Returns:
        The number of moves made, 0 if they were taken back.
    """
    came_from = np.empty(MOST_OUT + 1, np.int64)
    made, gained = 0, 0.0
    to = candidate[TO]
    for k in range(MOST_OUT + 1):
        vm, place, gain = -1, -1, NEVER
        if k < MOST_OUT:
            f, node, vm = candidate[OUT + 3 * k : OUT + 3 * k + 3]
            if f < 0:
                continue
            vm, place, gain = _send_away(
                static, state, table, f, node, vm, to // 2, candidate[SOURCE] // 2
            )
        else:
            vm, place = candidate[MOVER], to
            if vm < 0:
                vm = find_vm(static, state, table, candidate[FLAVOR], candidate[SOURCE])
            if vm >= 0 and is_legal(static, state, vm, to // 2, to % 2):
                gain = gain_of(static, state, table, vm, to)
        if gain == NEVER:
            gained = NEVER
            break
        came_from[made] = 2 * state.vm_pm[vm] + state.vm_numa[vm]
        make_move(static, state, table, vm, place)
        plies[at + 2 * made], plies[at + 2 * made + 1] = vm, place
        gained += gain
        made += 1
    if gained > least:
        return made
    for k in range(made - 1, -1, -1):
        undo_move(static, state, table, plies[at + 2 * k], came_from[k])
    return 0


@njit(cache=True)
def _send_away(
    static: Static,
    state: State,
    table: Table,
    flavor: int,
    node: int,
    only: int,
    pm: int,
    source: int,
) -> tuple[int, int, float]:
    """Find the VM to send away and where to.

    Args:
        static: the cluster.
        state: its state.
        table: the state's moves.
        flavor: flavor of the VM.
        node: its node.
        only: the VM itself; -1 for any of the flavor there, one in no set if there is one.
        pm: host to keep clear of.
        source: host that the mover will leave, taken only if there is no other.

    Returns:
        VM, node and gain; the gain is NEVER if there is none.
    """
    plain = find_vm(static, state, table, flavor, node) if only < 0 else -1
    best, vm, place = NEVER, -1, -1
    for k in range(-1, len(table.in_sets)):
        who = plain if k < 0 else table.in_sets[k]
        if who < 0 or (only >= 0 and who != only):
            continue
        if static.vm_flavor[who] != flavor or 2 * state.vm_pm[who] + state.vm_numa[who] != node:
            continue
        for second in range(2):
            for to in range(table.enter.shape[1]):
                gain = table.leave[flavor, node] + table.enter[flavor, to]
                near = to // 2 == pm or (to // 2 == source) != (second == 1)
                if near or gain <= best or to // 2 == node // 2:
                    continue
                if is_legal(static, state, who, to // 2, to % 2):
                    best, vm, place = gain, who, to
            if vm >= 0:
                break
        if vm >= 0:
            break
    return vm, place, best
