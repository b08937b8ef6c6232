"""Flavour prices and profitable patterns for VM rescheduling, compiled. Uses numpy and numba.

VMs of one flavour are interchangeable, so a plan is a *pattern* for each PM: how many VMs of each flavour leave it and
enter it. Only two kinds of constraint couple the PMs: as many VMs of a flavour enter as leave, and at most MNL leave.
Relaxing them with a price pi_f per flavour (paid to the PM that takes the VM in, by the one it leaves) and mu per move
leaves one small knapsack a PM:

    L(pi, mu) = mu * MNL + sum_pm max_pattern [slots opened - sum_f out_f (pi_f + mu) + sum_f in_f pi_f]

L bounds the slots that any plan opens, whatever the prices (weak duality), and at the prices with the lowest L the
patterns of good plans are nearly free. `improve_prices` looks at few VMs a node, for speed; `slot_bound` looks at all,
for proof. Memory, deployment sets and move caps are left out of L, so the bound stays valid with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ...core.errors import SysOptError
from ...datasets.vm_rescheduling.instance import ACTIVE, Cluster

MAX_GRID = 512  # units of CPU a node may have for the knapsack tables to stay small
MAX_OUT = 3  # VMs of one flavour considered to leave one node
NEVER = -1e18


class GridError(SysOptError):
    """CPU demands have no coarse common unit, so the knapsack tables would be too large."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Dual prices, in 16-core slots.

    Attributes:
        single: float64 [F]; one-node flavours, in the order of `Nodes.single`.
        double: float64 [D]; two-node flavours, in the order of `Nodes.double`.
        move: mu.
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
        single, double: int64 [F], [D]; flavour indices.
        movable: int64 [Q, 2, F]; VMs that may leave a node, by one-node flavour.
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
    """The pattern view of a cluster.

    Raises:
        GridError: the CPU demands have no coarse common unit (millicores, say).
    """
    demands = [cluster.flavour_cpu, cluster.numa_cpu.ravel(), np.array([cluster.fragment_unit])]
    unit = int(np.gcd.reduce(np.concatenate(demands)))
    grid = int(cluster.numa_cpu.max()) // unit
    if grid > MAX_GRID:
        raise GridError(
            f"{cluster.name}: CPU in {grid} steps a node, more than {MAX_GRID}; use local_search"
        )
    active = np.flatnonzero(cluster.pm_status == ACTIVE)
    row = np.full(cluster.n_pms, -1, np.int64)
    row[active] = np.arange(len(active))
    single = np.flatnonzero(cluster.flavour_nodes == 1)
    double = np.flatnonzero(cluster.flavour_nodes == 2)
    column = np.zeros(len(cluster.flavour_cpu), np.int64)
    column[single], column[double] = np.arange(len(single)), np.arange(len(double))
    free_cpu, free_mem = cluster.free()
    movable = np.zeros((len(active), 2, len(single)), np.int64)
    movable_double = np.zeros((len(active), len(double)), np.int64)
    may_move = ~cluster.vm_pinned & (row[cluster.vm_pm] >= 0)
    two = cluster.flavour_nodes[cluster.vm_flavour] == 2
    ones, twos = may_move & ~two, may_move & two
    np.add.at(
        movable,
        (row[cluster.vm_pm[ones]], cluster.vm_numa[ones], column[cluster.vm_flavour[ones]]),
        1,
    )
    np.add.at(movable_double, (row[cluster.vm_pm[twos]], column[cluster.vm_flavour[twos]]), 1)
    return Nodes(
        pms=active,
        free=free_cpu[active] // unit,
        free_mem=free_mem[active],
        single=single,
        double=double,
        movable=movable,
        movable_double=movable_double,
        cpu=cluster.flavour_cpu[single] // unit,
        cpu_double=cluster.flavour_cpu[double] // unit,
        mem=cluster.flavour_mem[single].astype(np.int64),
        mem_double=cluster.flavour_mem[double].astype(np.int64),
        slot=cluster.fragment_unit // unit,
        grid=grid,
    )


def first_prices(nodes: Nodes) -> Prices:
    """Where the subgradient method starts when nobody suggests prices: in proportion to size."""
    return Prices(0.5 * nodes.cpu / nodes.slot, nodes.cpu_double / nodes.slot, 0.3)


def slot_bound(nodes: Nodes, mnl: int, prices: Prices) -> float:
    """L at the given prices with no limit on the VMs that leave or enter a node: a proven bound, in slots."""
    return prices.move * mnl + _values_of_all_patterns(
        nodes.free, nodes.movable, nodes.movable_double, nodes.cpu, nodes.cpu_double,
        nodes.slot, nodes.grid, prices.single, prices.double, prices.move,
    )  # fmt: skip


@njit(cache=True)
def _takings(cpu, price, grid):
    """Most that VMs of exactly x units in all pay to enter, for every x, and the last flavour of that choice."""
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
def _gains(takings, slot):
    """Most of slots and takings with t units free before anything enters, and the units then filled."""
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
    free, movable, movable_double, cpu, cpu_double, slot, grid, price, price_double, mu
):
    n_pms, n_single = free.shape[0], len(cpu)
    takings, _ = _takings(cpu, price, grid)
    gain, _ = _gains(takings, slot)
    takings_double, _ = _takings(cpu_double, price_double, grid)
    cost = np.empty((3, grid + 1))
    outs = np.empty((grid + 1, max(n_single, len(cpu_double))), np.int64)
    top = np.empty((2, grid + 1))
    everything = 1 << 30
    total = 0.0
    for p in range(n_pms):
        for n in range(2):
            _removal_costs(
                movable[p, n], everything, cpu, price, mu, grid - free[p, n], cost[n], outs
            )
            for t in range(grid + 1):  # t: units free before any one-node VM leaves
                top[n, t] = NEVER
                for y in range(grid + 1 - t):
                    if cost[n, y] < -NEVER / 2:
                        top[n, t] = max(top[n, t], gain[t + y] - cost[n, y])
        _removal_costs(
            movable_double[p], everything, cpu_double, price_double, mu, grid, cost[2], outs
        )
        best = NEVER
        for y in range(grid + 1):
            if cost[2, y] > -NEVER / 2:
                continue
            for x in range(grid + 1):
                t0, t1 = free[p, 0] + y - x, free[p, 1] + y - x
                if takings_double[x] > NEVER / 2 and 0 <= t0 <= grid and 0 <= t1 <= grid:
                    best = max(best, takings_double[x] - cost[2, y] + top[0, t0] + top[1, t1])
        total += best - free[p, 0] // slot - free[p, 1] // slot
    return total


@njit(cache=True)
def _removal_costs(movable, most, cpu, price, mu, room, cost, outs):
    """Least price of removing exactly y units from a node, for every y; returns the largest y reached."""
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


@njit(cache=True)
def multisets(n_kinds, largest):
    """All multisets of up to `largest` items of n_kinds kinds, as counts int64 [M, n_kinds]; the empty one first."""
    count = 1
    for k in range(1, largest + 1):
        ways = 1
        for i in range(k):
            ways = ways * (n_kinds + i) // (i + 1)
        count += ways
    rows = np.zeros((count, n_kinds), np.int64)
    size = np.zeros(count, np.int64)
    first = np.zeros(count, np.int64)
    made, i = 1, 0
    while i < made:
        if size[i] < largest:
            for f in range(first[i], n_kinds):
                rows[made] = rows[i]
                rows[made, f] += 1
                size[made] = size[i] + 1
                first[made] = f
                made += 1
        i += 1
    return rows


@njit(cache=True)
def node_columns(
    level, out_cpu, out_price, start, spare_mem, in_cpu, in_mem, in_price, clash, out_of, slot, slack, have,
    of_set, of_in, most
):  # fmt: skip
    """One-node patterns worth at least -slack, by supply set; returns their number.

    A supply set is the nodes with `level` units free that hold the same VMs to send away (a multiset of CPU `out_cpu`, row
    `out_of` in `clash`); `out_price` is what it costs to send them and to use one of these nodes. `spare_mem[start[s]:
    start[s+1]]` is the memory free on each of its nodes once they are gone. Written are the set, the multiset taken in,
    and on how many nodes of the set it fits. Pairs marked in `have` are passed over, those written are marked.
    """
    made = 0
    for s in range(len(level)):
        least = spare_mem[start[s]]
        for i in range(start[s], start[s + 1]):
            least = min(least, spare_mem[i])
        for j in range(len(in_cpu)):
            left = level[s] + out_cpu[s] - in_cpu[j]
            if left < 0 or have[s, j] or clash[out_of[s], j]:
                continue
            if left // slot - level[s] // slot + in_price[j] - out_price[s] < -slack:
                continue
            fits = start[s + 1] - start[s]
            if least < in_mem[j]:
                fits = 0
                for i in range(start[s], start[s + 1]):
                    fits += spare_mem[i] >= in_mem[j]
            if fits > 0 and made < len(of_set):
                have[s, j] = True
                of_set[made], of_in[made], most[made] = s, j, fits
                made += 1
    return made


@njit(cache=True)
def two_node_columns(
    free, movable, movable_double, cpu, cpu_double, slot, grid, price, price_double, mu, pm_price, slack,
    of_pm, patterns
):  # fmt: skip
    """For each PM and each two-node VM that may leave or enter it, the best pattern if worth -slack; returns their number.

    A pattern is [out of node 0 (F), into node 0 (F), out of node 1 (F), into node 1 (F), two-node out (D), in (D)];
    `pm_price` [Q] is the price of using both nodes. `gain[t]` is the best of slots and takings when t units are free
    before anything enters; `cost[y]` the least price of sending away exactly y units.
    """
    n_single, n_double = len(cpu), len(cpu_double)
    takings, last = _takings(cpu, price, grid)
    gain, filled = _gains(takings, slot)
    cost = np.empty((2, grid + 1))
    outs = np.empty((2, grid + 1, n_single), np.int64)
    reach = np.zeros(2, np.int64)
    taken = np.zeros(2, np.int64)
    made = 0
    for p in range(free.shape[0]):
        known = False
        before = free[p, 0] // slot + free[p, 1] // slot
        for op in range(2 * n_double):
            d, enters = op // 2, op % 2
            shift = -cpu_double[d] if enters else cpu_double[d]
            if not enters and movable_double[p, d] == 0:
                continue
            if not known:
                known = True
                for n in range(2):
                    reach[n] = _removal_costs(
                        movable[p, n], MAX_OUT, cpu, price, mu, grid - free[p, n], cost[n], outs[n]
                    )
            value = price_double[d] if enters else -price_double[d] - mu
            value -= before + pm_price[p]
            for n in range(2):
                top = NEVER
                for y in range(reach[n] + 1):
                    t = free[p, n] + shift + y
                    if (
                        cost[n, y] < -NEVER / 2
                        and 0 <= t <= grid
                        and gain[t] - cost[n, y] > top + 1e-12
                    ):
                        top, taken[n] = gain[t] - cost[n, y], y
                value += top
            if value < -slack or made == len(of_pm):
                continue
            of_pm[made] = p
            row = patterns[made]
            row[:] = 0
            for n in range(2):
                row[2 * n_single * n : 2 * n_single * n + n_single] = outs[n, taken[n]]
                x = filled[free[p, n] + shift + taken[n]]
                while x > 0:
                    row[2 * n_single * n + n_single + last[x]] += 1
                    x -= cpu[last[x]]
            row[4 * n_single + enters * n_double + d] = 1
            made += 1
    return made
