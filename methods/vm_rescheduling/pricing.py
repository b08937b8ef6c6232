"""The Lagrangian relaxation: what VMs and moves are worth, and a bound on any plan.

VMs of one flavor are interchangeable, so a plan is a *pattern* for each PM: how many VMs of each
flavor leave it and enter it. Only two kinds of constraint couple the PMs: as many VMs of a flavor
enter as leave, and at most MNL leave. Relaxing them with a price pi_f per flavor (which the PM
that a VM leaves pays to the one that it enters) and mu per move leaves one small knapsack a PM:

    L(pi, mu) = mu * MNL
        + sum_pm max_pattern [slots opened - sum_f out_f (pi_f + mu) + sum_f in_f pi_f]

L bounds the slots that any plan opens, whatever the prices (weak duality), and at the prices with
the lowest L the patterns of good plans are nearly free. Memory, deployment sets and move caps are
left out of L, so the bound stays valid with them. Solvers and agents both build on this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ...core.errors import SysOptError
from ...datasets.vm_rescheduling.instance import ACTIVE, Cluster

MAX_GRID = 512  # units of CPU a node may have for the knapsack tables to stay small
MAX_OUT = 3  # VMs of one flavor considered to leave one node
NEVER = -1e18


class GridError(SysOptError):
    """CPU demands have no coarse common unit, so the knapsack tables would be too large."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Dual prices, in 16-core slots.

    Attributes:
        single: float64 [F]; one-node flavors, in the order of `Nodes.single`.
        double: float64 [D]; two-node flavors, in the order of `Nodes.double`.
        move: mu, the price of a move.
    """

    single: np.ndarray
    double: np.ndarray
    move: float


@dataclass(frozen=True, slots=True)
class Nodes:
    """A cluster as patterns see it; CPU in units of the greatest common divisor of all demands.

    Attributes:
        pms: int64 [Q]; the PMs that take part (ACTIVE, two nodes or one).
        free: int64 [Q, 2]; free CPU units.
        free_mem: int64 [Q, 2]; free memory in MB.
        single, double: int64 [F], [D]; flavor indices.
        movable: int64 [Q, 2, F]; VMs that may leave a node, by one-node flavor.
        movable_double: int64 [Q, D].
        cpu, cpu_double: int64 [F], [D]; units on each node used.
        mem, mem_double: int64 [F], [D]; MB on each node used.
        slot: units in 16 cores.
        grid: units of the largest node.
    """

    pms: np.ndarray
    free: np.ndarray
    free_mem: np.ndarray
    single: np.ndarray
    double: np.ndarray
    movable: np.ndarray
    movable_double: np.ndarray
    cpu: np.ndarray
    cpu_double: np.ndarray
    mem: np.ndarray
    mem_double: np.ndarray
    slot: int
    grid: int


def make_nodes(cluster: Cluster) -> Nodes:
    """Make the pattern view of a cluster.

    Raises:
        GridError: the CPU demands have no coarse common unit (millicores, say).
    """
    demands = [cluster.flavor_cpu, cluster.numa_cpu.ravel(), np.array([cluster.fragment_unit])]
    unit = int(np.gcd.reduce(np.concatenate(demands)))
    grid = int(cluster.numa_cpu.max()) // unit
    if grid > MAX_GRID:
        raise GridError(
            f"{cluster.name}: CPU in {grid} steps a node, more than {MAX_GRID}; use local_search"
        )
    active = np.flatnonzero(cluster.pm_status == ACTIVE)
    row = np.full(cluster.n_pms, -1, np.int64)
    row[active] = np.arange(len(active))
    single = np.flatnonzero(cluster.flavor_nodes == 1)
    double = np.flatnonzero(cluster.flavor_nodes == 2)
    column = np.zeros(len(cluster.flavor_cpu), np.int64)
    column[single], column[double] = np.arange(len(single)), np.arange(len(double))
    free_cpu, free_mem = cluster.free()
    movable = np.zeros((len(active), 2, len(single)), np.int64)
    movable_double = np.zeros((len(active), len(double)), np.int64)
    may_move = ~cluster.vm_pinned & (row[cluster.vm_pm] >= 0)
    two = cluster.flavor_nodes[cluster.vm_flavor] == 2
    ones, twos = may_move & ~two, may_move & two
    np.add.at(
        movable,
        (row[cluster.vm_pm[ones]], cluster.vm_numa[ones], column[cluster.vm_flavor[ones]]),
        1,
    )
    np.add.at(movable_double, (row[cluster.vm_pm[twos]], column[cluster.vm_flavor[twos]]), 1)
    return Nodes(
        pms=active,
        free=free_cpu[active] // unit,
        free_mem=free_mem[active],
        single=single,
        double=double,
        movable=movable,
        movable_double=movable_double,
        cpu=cluster.flavor_cpu[single] // unit,
        cpu_double=cluster.flavor_cpu[double] // unit,
        mem=cluster.flavor_mem[single].astype(np.int64),
        mem_double=cluster.flavor_mem[double].astype(np.int64),
        slot=cluster.fragment_unit // unit,
        grid=grid,
    )


def first_prices(nodes: Nodes) -> Prices:
    """Return the prices that the subgradient method starts from: in proportion to size."""
    return Prices(0.5 * nodes.cpu / nodes.slot, nodes.cpu_double / nodes.slot, 0.3)


def slot_bound(nodes: Nodes, mnl: int, prices: Prices) -> float:
    """Bound the slots that any plan opens: L at given prices, with no limit on patterns.

    Args:
        nodes: the cluster.
        mnl: the most moves.
        prices: any prices.

    Returns:
        A proven upper bound, in slots.
    """
    every = _values_of_all_patterns(
        nodes.free, nodes.movable, nodes.movable_double, nodes.cpu, nodes.cpu_double,
        nodes.slot, nodes.grid, prices.single, prices.double, prices.move,
    )  # fmt: skip
    return prices.move * mnl + float(every)


def slope(nodes: Nodes, mnl: int, prices: Prices) -> tuple[float, np.ndarray]:
    """Evaluate L and its slope, with at most one two-node VM leaving or entering a PM.

    Args:
        nodes: the cluster.
        mnl: the most moves.
        prices: where to evaluate L.

    Returns:
        L in slots, and a subgradient along (single, double, move), float64 [F + D + 1].
    """
    net = np.zeros(len(nodes.single) + len(nodes.double) + 1)
    value = _best_patterns(
        nodes.free, nodes.movable, nodes.movable_double, nodes.cpu, nodes.cpu_double,
        nodes.slot, nodes.grid, prices.single, prices.double, prices.move, net,
    )  # fmt: skip
    net[-1] += mnl
    return float(value) + prices.move * mnl, net


@njit(cache=True)
def _best_patterns(
    free: np.ndarray,
    movable: np.ndarray,
    movable_double: np.ndarray,
    cpu: np.ndarray,
    cpu_double: np.ndarray,
    slot: int,
    grid: int,
    price: np.ndarray,
    price_double: np.ndarray,
    mu: float,
    net: np.ndarray,
) -> float:
    """Sum the values of each PM's best pattern, and add VMs in less VMs out, by flavor, to `net`.

    The last entry of net, float64 [F + D + 1], is the move price's: less one for each VM that
    leaves.
    """
    n_single, n_double = len(cpu), len(cpu_double)
    takings, last = takings_of(cpu, price, grid)
    gain, filled = gains_of(takings, slot)
    cost = np.empty((2, grid + 1))
    outs = np.empty((2, grid + 1, n_single), np.int64)
    reach = np.zeros(2, np.int64)
    taken, chosen = np.zeros(2, np.int64), np.zeros(2, np.int64)
    total = 0.0
    for p in range(free.shape[0]):
        for n in range(2):
            reach[n] = removal_costs(
                movable[p, n], MAX_OUT, cpu, price, mu, grid - free[p, n], cost[n], outs[n]
            )
        best, best_op, best_shift = NEVER, -1, 0
        for op in range(-1, 2 * n_double):  # no two-node VM; then each flavor out, and in
            shift, value = 0, 0.0
            if op >= 0 and op % 2 == 0:
                if movable_double[p, op // 2] == 0:
                    continue
                shift, value = cpu_double[op // 2], -price_double[op // 2] - mu
            elif op >= 0:
                shift, value = -cpu_double[op // 2], price_double[op // 2]
            for n in range(2):
                taken[n], top = best_removal(cost[n], reach[n], free[p, n] + shift, gain)
                value += top
            if value > best + 1e-12:
                best, best_op, best_shift = value, op, shift
                chosen[:] = taken
        total += best - free[p, 0] // slot - free[p, 1] // slot
        for n in range(2):
            y = chosen[n]
            for f in range(n_single):
                net[f] -= outs[n, y, f]
                net[-1] -= outs[n, y, f]
            x = filled[free[p, n] + best_shift + y]
            while x > 0:
                net[last[x]] += 1
                x -= cpu[last[x]]
        if best_op >= 0:
            leaves = best_op % 2 == 0
            net[n_single + best_op // 2] += -1 if leaves else 1
            net[-1] -= leaves
    return total


@njit(cache=True)
def best_removal(cost: np.ndarray, reach: int, free: int, gain: np.ndarray) -> tuple[int, float]:
    """Find how many CPU units to take out of a node.

    Args:
        cost: float64 [grid + 1]; price, in slots, of removing exactly y units; of `removal_costs`.
        reach: the most units that can be removed.
        free: units free on the node before; below 0 where a two-node VM enters first.
        gain: float64 [grid + 1]; of `gains_of`.

    Returns:
        The units, and gain[free + units] - cost[units] in slots; NEVER if no number of units will
        do.
    """
    top, units = NEVER, 0
    for y in range(reach + 1):
        t = free + y
        if cost[y] < -NEVER / 2 and 0 <= t < len(gain) and gain[t] - cost[y] > top + 1e-12:
            top, units = gain[t] - cost[y], y
    return units, top


@njit(cache=True)
def takings_of(cpu: np.ndarray, price: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Tabulate the most that VMs of exactly x CPU units together pay to enter a node.

    Args:
        cpu: int64 [F]; CPU units of a VM of each flavor.
        price: float64 [F]; what it pays, in slots.
        grid: the largest x.

    Returns:
        Payments by x, float64 [grid + 1], NEVER where no VMs add up to x; and the flavor added
        last, int64 [grid + 1], -1 for none.
    """
    takings = np.full(grid + 1, NEVER)
    last = np.full(grid + 1, -1, np.int64)
    takings[0] = 0.0
    for x in range(1, grid + 1):
        for f in range(len(cpu)):
            if cpu[f] <= x and takings[x - cpu[f]] > NEVER / 2:
                value = takings[x - cpu[f]] + price[f]
                if value > takings[x]:
                    takings[x] = value
                    last[x] = f
    return takings, last


@njit(cache=True)
def gains_of(takings: np.ndarray, slot: int) -> tuple[np.ndarray, np.ndarray]:
    """Tabulate the most of slots plus payments that a node with t CPU units free can have.

    Args:
        takings: float64 [grid + 1]; of `takings_of`.
        slot: CPU units in 16 cores.

    Returns:
        That sum in slots by t, float64 [grid + 1], and the units that then enter, int64 [grid + 1].
    """
    gain = np.full(len(takings), NEVER)
    filled = np.zeros(len(takings), np.int64)
    for t in range(len(takings)):
        for x in range(t + 1):
            value = takings[x] + (t - x) // slot
            if value > gain[t] + 1e-12:
                gain[t] = value
                filled[t] = x
    return gain, filled


@njit(cache=True)
def _values_of_all_patterns(
    free: np.ndarray,
    movable: np.ndarray,
    movable_double: np.ndarray,
    cpu: np.ndarray,
    cpu_double: np.ndarray,
    slot: int,
    grid: int,
    price: np.ndarray,
    price_double: np.ndarray,
    mu: float,
) -> float:
    """Sum the values of each PM's best pattern, of any size, in slots; see `slot_bound`."""
    n_pms, n_single = free.shape[0], len(cpu)
    takings, _ = takings_of(cpu, price, grid)
    gain, _ = gains_of(takings, slot)
    takings_double, _ = takings_of(cpu_double, price_double, grid)
    cost = np.empty((3, grid + 1))
    outs = np.empty((grid + 1, max(n_single, len(cpu_double))), np.int64)
    # top[n, grid + t]: t units free before any one-node VM leaves; below 0 until some have left
    top = np.empty((2, 2 * grid + 1))
    everything = 1 << 30
    total = 0.0
    for p in range(n_pms):
        for n in range(2):
            removal_costs(
                movable[p, n], everything, cpu, price, mu, grid - free[p, n], cost[n], outs
            )
            for t in range(-grid, grid + 1):
                top[n, grid + t] = NEVER
                for y in range(max(0, -t), min(grid, grid - t) + 1):
                    if cost[n, y] < -NEVER / 2:
                        top[n, grid + t] = max(top[n, grid + t], gain[t + y] - cost[n, y])
        removal_costs(
            movable_double[p], everything, cpu_double, price_double, mu, grid, cost[2], outs
        )
        best = NEVER
        for y in range(grid + 1):
            if cost[2, y] > -NEVER / 2:
                continue
            for x in range(grid + 1):
                t0, t1 = free[p, 0] + y - x, free[p, 1] + y - x
                if takings_double[x] > NEVER / 2 and max(t0, t1) <= grid:
                    both = top[0, grid + t0] + top[1, grid + t1]
                    best = max(best, takings_double[x] - cost[2, y] + both)
        total += best - free[p, 0] // slot - free[p, 1] // slot
    return total


@njit(cache=True)
def removal_costs(
    movable: np.ndarray,
    most: int,
    cpu: np.ndarray,
    price: np.ndarray,
    mu: float,
    room: int,
    cost: np.ndarray,
    outs: np.ndarray,
) -> int:
    """Tabulate the least price of removing VMs of exactly y CPU units from a node.

    Args:
        movable: int64 [F]; VMs that may leave, by flavor.
        most: the most VMs of one flavor to remove.
        cpu: int64 [F]; CPU units of a VM of each flavor.
        price: float64 [F]; what a VM that leaves costs, in slots.
        mu: what each move costs in addition, in slots.
        room: the largest y.
        cost: float64 [grid + 1]; gets the prices by y, -NEVER where no VMs add up to y.
        outs: int64 [grid + 1, >= F]; gets the VMs removed, by y and flavor.

    Returns:
        The largest y reached.
    """
    cost[:] = -NEVER
    cost[0] = 0.0
    outs[0, :] = 0
    reach = 0
    for f in range(len(cpu)):
        for _ in range(min(movable[f], most)):
            high = min(reach + cpu[f], room)
            for y in range(high, cpu[f] - 1, -1):
                value = cost[y - cpu[f]] + price[f] + mu
                if value < cost[y] - 1e-12:
                    cost[y] = value
                    outs[y, :] = outs[y - cpu[f], :]
                    outs[y, f] += 1
            reach = max(reach, high)
    return reach
