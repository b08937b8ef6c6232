"""Table of every move with its gain, kept up to date as moves are made.

Shared by ha, greedy, beam and mcts. VMs of one flavor on one NUMA node are interchangeable unless
they belong to a deployment set, so moves are listed by (flavor, node) and not by VM. A node is the
integer 2 * pm + numa; VMs on two nodes are listed at numa 0. The gain of a move is what the source
gains by the VM leaving plus what the destination gains, except inside one PM (a "flip").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.hosts import LARGE_CORES, LARGE_MEM_MB
from ...datasets.vm_rescheduling.instance import ACTIVE, OUTAGE, Cluster
from ...envs.vm_rescheduling.dynamics import (
    ADMISSION,
    DRAIN,
    FRAGMENT,
    FREE,
    LARGE_SLOTS,
    MEM_FRAGMENT,
    MEM_FREE,
    MIXED,
    ON_DRAIN,
    ROOM,
    TOTALS,
    State,
    Static,
    points_of,
)
from ...envs.vm_rescheduling.rooms import POINTS

NEVER = -1e18
STEPS = 16  # a residue (free CPU mod 16 cores) is read at this resolution
BLOCK = 128  # nodes that share one upper bound on their gains
LEAVE, ENTER, FLIP = range(3)  # rows of Table.tops
TIE_BREAK = 1e-3  # the largest residual energy, in cores: too little to outweigh any gain


class Table(NamedTuple):
    """The gains of all moves, in the instance's unit of CPU; K flavors, N = 2 * PMs nodes.

    Attributes:
        weights: float64 [8]; what one unit of each of State.totals costs.
        energy: float64 [STEPS]; what a node costs in addition, by its residue.
        movable: int64 [K, N]; number of VMs that may move and are in no deployment set.
        leave: float64 [K, N]; gain of one VM leaving, NEVER where none may.
        enter: float64 [K, N]; gain of one VM entering, NEVER where there is no room.
        flip: float64 [K, N]; gain of one VM going to its PM's other node, NEVER where none may.
        tops: float64 [3, K, B]; for each BLOCK of nodes no less than the largest gain in `leave`,
            `enter` and `flip` there, so that a search passes over most blocks.
        in_sets: int64 [M]; VMs of deployment sets that may move.
        first: int64 [P]; a VM of each PM, -1 for none; `after` and `before`, int64 [V], chain it to
            the PM's others, in no order.
    """

    weights: np.ndarray
    energy: np.ndarray
    movable: np.ndarray
    leave: np.ndarray
    enter: np.ndarray
    flip: np.ndarray
    tops: np.ndarray
    in_sets: np.ndarray
    first: np.ndarray
    after: np.ndarray
    before: np.ndarray


def cost_weights(cluster: Cluster, static: Static, state: State) -> np.ndarray:
    """Linearize the objective around a state; the unit of cost is one fragmented unit of CPU.

    For moves_to_goal the fragment rate stands in. For admission a unit of potential, which is about
    what a core is worth, counts as a core. The total of free CPU changes only where VMs may
    leave PMs that are not ACTIVE; elsewhere its weight is 0, so that gains stay whole numbers.

    Args:
        cluster: the cluster.
        static: the same cluster as arrays.
        state: the state.

    Returns:
        float64 [8]; a weight for each of State.totals.
    """
    totals = state.totals
    free, mem_free = max(int(totals[FREE]), 1), max(int(totals[MEM_FREE]), 1)
    weights = np.zeros(len(TOTALS))
    if static.objective == ADMISSION:
        weights[ROOM] = -static.unit / (16 * POINTS)
        return weights
    weights[FRAGMENT] = 1.0
    changing = bool((cluster.pm_status[cluster.vm_pm] != ACTIVE).any())
    if static.objective == MIXED:
        large = static.unit * LARGE_CORES // 16
        weights[FRAGMENT] = static.weights[0]
        weights[LARGE_SLOTS] = -static.weights[1] * large
        weights[MEM_FRAGMENT] = static.weights[2] * free / mem_free
        if changing:
            weights[FREE] += static.weights[1] * large * totals[LARGE_SLOTS] / free
            weights[MEM_FREE] = -weights[MEM_FRAGMENT] * totals[MEM_FRAGMENT] / mem_free
    if static.objective == DRAIN:
        weights[ON_DRAIN] = free
    if changing:
        weights[FREE] -= weights[FRAGMENT] * totals[FRAGMENT] / free
    return weights


def residual_energy(static: Static, power: float = 2.0, scale: float = TIE_BREAK) -> np.ndarray:
    """Tabulate a node's energy by its residue: lowest where one small VM is missing to a slot.

    Args:
        static: the cluster.
        power: exponent of the residue, which is taken as a share of a slot.
        scale: the largest energy, in cores.

    Returns:
        float64 [STEPS], in the instance's unit of CPU.
    """
    unit_cores = static.unit / STEPS
    return -scale * unit_cores * (np.arange(STEPS) / STEPS) ** power


def make_table(cluster: Cluster, static: Static, state: State, energy: np.ndarray) -> Table:
    """Build the table of a state's moves.

    Args:
        cluster: the cluster.
        static: the same cluster as arrays.
        state: the state.
        energy: float64 [STEPS]; see `Table`.
    """
    kinds, nodes = len(static.flavor_cpu), 2 * len(static.pm_status)
    in_a_set = np.diff(static.vm_set_start) > 0
    free_to_go = (static.vm_pinned == 0) & (static.pm_status[state.vm_pm] != OUTAGE)
    movable = np.zeros((kinds, nodes), np.int64)
    plain = np.flatnonzero(free_to_go & ~in_a_set)
    np.add.at(movable, (static.vm_flavor[plain], 2 * state.vm_pm[plain] + state.vm_numa[plain]), 1)
    table = Table(
        weights=cost_weights(cluster, static, state),
        energy=energy.copy(),
        movable=movable,
        leave=np.full((kinds, nodes), NEVER),
        enter=np.full((kinds, nodes), NEVER),
        flip=np.full((kinds, nodes), NEVER),
        tops=np.full((3, kinds, -(-nodes // BLOCK)), NEVER),
        in_sets=np.flatnonzero(free_to_go & in_a_set),
        first=np.full(len(static.pm_status), -1, np.int64),
        after=np.full(len(state.vm_pm), -1, np.int64),
        before=np.full(len(state.vm_pm), -1, np.int64),
    )
    _link_all(state, table)
    refresh_all(static, state, table)
    return table


def copy_table(table: Table) -> Table:
    """Copy a table, arrays included."""
    return Table(*(array.copy() for array in table))


def restore_table(table: Table, saved: Table) -> None:
    """Overwrite a table, in place, with a saved one.

    Args:
        table: the table to overwrite.
        saved: one of the same shapes, a result of `copy_table`.
    """
    for array, source in zip(table, saved, strict=True):
        array[...] = source


@njit(cache=True)
def _link_all(state: State, table: Table) -> None:
    for vm in range(len(state.vm_pm)):
        link(table, vm, state.vm_pm[vm])


@njit(cache=True)
def link(table: Table, vm: int, pm: int) -> None:
    """Add a VM to the chain of a PM's.

    Args:
        table: changed in place.
        vm: a VM in no chain.
        pm: the PM.
    """
    following = table.first[pm]
    table.first[pm], table.after[vm], table.before[vm] = vm, following, -1
    if following >= 0:
        table.before[following] = vm


@njit(cache=True)
def unlink(table: Table, vm: int, pm: int) -> None:
    """Take a VM out of the chain of a PM's.

    Args:
        table: changed in place.
        vm: a VM in the chain.
        pm: the PM.
    """
    earlier, following = table.before[vm], table.after[vm]
    if earlier >= 0:
        table.after[earlier] = following
    else:
        table.first[pm] = following
    if following >= 0:
        table.before[following] = earlier


@njit(cache=True)
def pm_cost(
    static: Static,
    weights: np.ndarray,
    energy: np.ndarray,
    pm: int,
    cpu_0: int,
    cpu_1: int,
    mem_0: int,
    mem_1: int,
) -> float:
    """Evaluate what one PM adds to the objective, in the instance's unit of CPU.

    Args:
        static: the cluster.
        weights: float64 [8]; see `Table`.
        energy: float64 [STEPS]; see `Table`.
        pm: the PM.
        cpu_0: free CPU of its node 0.
        cpu_1: free CPU of its node 1.
        mem_0: free memory of its node 0, MB.
        mem_1: free memory of its node 1, MB.
    """
    if static.pm_status[pm] != ACTIVE:
        return 0.0
    unit = static.unit
    nodes = static.pm_nodes[pm]
    cost = 0.0
    for node in range(nodes):
        cpu = cpu_0 if node == 0 else cpu_1
        residue = cpu % unit
        cost += weights[FRAGMENT] * residue + weights[FREE] * cpu
        cost += energy[residue * STEPS // unit]
    if weights[ROOM] != 0.0:
        return float(cost + weights[ROOM] * points_of(static, pm, 0, cpu_0, cpu_1))
    if weights[LARGE_SLOTS] != 0.0:
        share = unit * LARGE_CORES // 16 // nodes
        slots = cpu_0 // share if nodes == 1 else min(cpu_0 // share, cpu_1 // share)
        cost += weights[LARGE_SLOTS] * slots
    if weights[MEM_FRAGMENT] != 0.0:
        for node in range(nodes):
            mem = mem_0 if node == 0 else mem_1
            cost += weights[MEM_FRAGMENT] * (mem % LARGE_MEM_MB) + weights[MEM_FREE] * mem
    return cost


@njit(cache=True)
def _raise_tops(table: Table, flavor: int, pm: int) -> None:
    """Make the bounds of a PM's block no less than the gains of a flavor on its nodes."""
    block = 2 * pm // BLOCK
    leave, enter = table.tops[LEAVE, flavor], table.tops[ENTER, flavor]
    flip = table.tops[FLIP, flavor]
    for at in (2 * pm, 2 * pm + 1):
        leave[block] = max(leave[block], table.leave[flavor, at])
        enter[block] = max(enter[block], table.enter[flavor, at])
        flip[block] = max(flip[block], table.flip[flavor, at])


@njit(cache=True)
def refresh_pm(static: Static, state: State, table: Table, pm: int) -> None:
    """Compute a PM's columns of `leave`, `enter` and `flip` again after a move changed it.

    Args:
        static: the cluster.
        state: the state after the move.
        table: changed in place.
        pm: the PM.
    """
    weights, energy = table.weights, table.energy
    a, b = state.free_cpu[pm, 0], state.free_cpu[pm, 1]
    m, n = state.free_mem[pm, 0], state.free_mem[pm, 1]
    here = pm_cost(static, weights, energy, pm, a, b, m, n)
    capped = state.pm_moves[pm] >= static.pm_move_cap
    may_leave = static.pm_status[pm] != OUTAGE and not capped
    may_enter = static.pm_status[pm] == ACTIVE and not capped
    on_drain = weights[ON_DRAIN] if static.pm_drain[pm] else 0.0
    two = static.pm_nodes[pm] == 2
    for f in range(len(static.flavor_cpu)):
        cpu, mem = static.flavor_cpu[f], static.flavor_mem[f]
        if static.flavor_nodes[f] == 2:
            at = 2 * pm
            if may_leave and two:
                after = pm_cost(static, weights, energy, pm, a + cpu, b + cpu, m + mem, n + mem)
                table.leave[f, at] = here - after + on_drain
            else:
                table.leave[f, at] = NEVER
            if may_enter and two and a >= cpu and b >= cpu and m >= mem and n >= mem:
                after = pm_cost(static, weights, energy, pm, a - cpu, b - cpu, m - mem, n - mem)
                table.enter[f, at] = here - after - on_drain
            else:
                table.enter[f, at] = NEVER
            _raise_tops(table, f, pm)
            continue
        for numa in range(2):
            at = 2 * pm + numa
            if numa >= static.pm_nodes[pm]:
                continue
            c0, c1 = (cpu, 0) if numa == 0 else (0, cpu)
            m0, m1 = (mem, 0) if numa == 0 else (0, mem)
            table.leave[f, at] = NEVER
            if may_leave:
                after = pm_cost(static, weights, energy, pm, a + c0, b + c1, m + m0, n + m1)
                table.leave[f, at] = here - after + on_drain
            room = state.free_cpu[pm, numa] >= cpu and state.free_mem[pm, numa] >= mem
            table.enter[f, at] = NEVER
            if may_enter and room:
                after = pm_cost(static, weights, energy, pm, a - c0, b - c1, m - m0, n - m1)
                table.enter[f, at] = here - after - on_drain
            if two:
                table.flip[f, at ^ 1] = NEVER
                if may_enter and room and may_leave:
                    after = pm_cost(
                        static, weights, energy, pm,
                        a - c0 + c1, b - c1 + c0, m - m0 + m1, n - m1 + m0,
                    )  # fmt: skip
                    table.flip[f, at ^ 1] = here - after
        _raise_tops(table, f, pm)


@njit(cache=True)
def refresh_all(static: Static, state: State, table: Table) -> None:
    """Compute the columns of every PM again.

    Args:
        static: the cluster.
        state: the state.
        table: changed in place.
    """
    table.tops[:] = NEVER
    for pm in range(len(static.pm_status)):
        refresh_pm(static, state, table, pm)


@njit(cache=True)
def gain_of(static: Static, state: State, table: Table, vm: int, to: int) -> float:
    """Look up the gain of a legal move.

    Args:
        static: the cluster.
        state: the state.
        table: the state's.
        vm: the VM.
        to: the node it would move to.
    """
    f, at = static.vm_flavor[vm], 2 * state.vm_pm[vm] + state.vm_numa[vm]
    if at // 2 == to // 2:
        return float(table.flip[f, at])
    return float(table.leave[f, at] + table.enter[f, to])


@njit(cache=True)
def pm_cost_after(
    static: Static,
    state: State,
    table: Table,
    to: int,
    flavor: int,
    out_1: int,
    at_1: int,
    out_2: int,
    at_2: int,
) -> float:
    """Evaluate what a PM gains if a VM enters it after one or two others have left it.

    Args:
        static: the cluster.
        state: the state.
        table: the state's.
        to: the node that the VM enters.
        flavor: its flavor.
        out_1: flavor of the first VM that leaves.
        at_1: its node.
        out_2: flavor of the second, -1 for none.
        at_2: its node.

    Returns:
        The gain; NEVER if there is no room even then.
    """
    pm = to // 2
    a, b = state.free_cpu[pm, 0], state.free_cpu[pm, 1]
    m, n = state.free_mem[pm, 0], state.free_mem[pm, 1]
    here = pm_cost(static, table.weights, table.energy, pm, a, b, m, n)
    gain: float = 0.0
    on_drain = table.weights[ON_DRAIN] if static.pm_drain[pm] else 0.0
    for k in range(3):
        f, at, sign = flavor, to, -1
        if k > 0:
            f, at, sign = (out_1, at_1, 1) if k == 1 else (out_2, at_2, 1)
        if f < 0:
            continue
        gain += sign * on_drain
        if at % 2 == 0 or static.flavor_nodes[f] == 2:
            a += sign * static.flavor_cpu[f]
            m += sign * static.flavor_mem[f]
        if at % 2 == 1 or static.flavor_nodes[f] == 2:
            b += sign * static.flavor_cpu[f]
            n += sign * static.flavor_mem[f]
    if min(a, b) < 0 or min(m, n) < 0 or static.pm_status[pm] != ACTIVE:
        return NEVER
    gain += here - pm_cost(static, table.weights, table.energy, pm, a, b, m, n)
    return gain
