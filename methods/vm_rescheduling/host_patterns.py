"""Patterns of whole hosts at given prices, compiled: for objectives of both nodes of a host.

A pattern says how many VMs of each flavor leave and enter each node of a host, and its worth is

    points after - points before + sum_f in_f price_f - sum_f out_f (price_f + price of a move)

where the points are those of the host's free CPU on both nodes. The best pattern of a host comes
from tables: the most that a change of either node's free CPU by so many units can pay, the most
that VMs on both nodes can pay, and the points of where that leads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .pricing import NEVER, removal_costs, takings_of

ALL = 1 << 30  # VMs of a flavor that may leave: as many as there are
OPTIONS = 4_000  # of one node, at most
MOST_COUNTED = 200_000  # multisets looked at in one list


class Hosts(NamedTuple):
    """A cluster as whole-host patterns see it; CPU in units of `Nodes`.

    Attributes:
        points: float64 [T, G + 1, G + 1]; points by free units of both nodes, NEVER beyond a
            node's size, of each of T kinds of hosts.
        kind: int64 [Q]; of each host.
        size: int64 [Q, 2]; units of each node.
        free, free_mem: int64 [Q, 2].
        movable: int64 [Q, 2, F].
        movable_double: int64 [Q, D].
        cpu, mem: int64 [F]; of one-node flavors.
        cpu_double, mem_double: int64 [D]; of two-node flavors, on each node.
    """

    points: np.ndarray
    kind: np.ndarray
    size: np.ndarray
    free: np.ndarray
    free_mem: np.ndarray
    movable: np.ndarray
    movable_double: np.ndarray
    cpu: np.ndarray
    mem: np.ndarray
    cpu_double: np.ndarray
    mem_double: np.ndarray


@njit(cache=True)
def _changes(
    takings: np.ndarray, cost: np.ndarray, reach: int, most: np.ndarray, leaving: np.ndarray
) -> None:
    """Tabulate the most that VMs can pay that free exactly t more units.

    Args:
        takings: float64 [G + 1]; of `takings_of`.
        cost: float64 [G + 1]; of `removal_costs`.
        reach: the most units that can be removed.
        most: float64 [2 G + 1]; gets the payment by G + t, NEVER where no VMs add up.
        leaving: int64 [2 G + 1]; gets the units that leave.
    """
    grid = len(takings) - 1
    most[:] = NEVER
    for y in range(reach + 1):
        if cost[y] > -NEVER / 2:
            continue
        for x in range(grid + 1):
            value = takings[x] - cost[y]
            at = grid + y - x
            if takings[x] > NEVER / 2 and value > most[at] + 1e-12:
                most[at] = value
                leaving[at] = y


@njit(cache=True)
def best_patterns(
    hosts: Hosts,
    price: np.ndarray,
    price_double: np.ndarray,
    mu: float,
    charge: np.ndarray,
    of_host: np.ndarray,
    patterns: np.ndarray,
    best: np.ndarray,
) -> int:
    """Find the worth of each host's best pattern, and write the best ones that are worth more
    than the host's charge: one for each number of units that VMs on both nodes free.

    Args:
        hosts: the cluster.
        price: float64 [F]; of one-node flavors, in points.
        price_double: float64 [D]; of two-node flavors.
        mu: price of a move.
        charge: float64 [Q]; of using each host.
        of_host: int64 [room]; gets the host of each pattern.
        patterns: int64 [room, 4 F + 2 D]; gets the patterns: VMs out of node 0 (F), into it (F),
            out of node 1 (F), into it (F), two-node VMs out (D), in (D).
        best: float64 [Q]; gets the worth of each host's best pattern.

    Returns:
        The number of patterns written, at most `room`.
    """
    n_single, n_double = len(hosts.cpu), len(hosts.cpu_double)
    grid = hosts.points.shape[1] - 1
    takings, last = takings_of(hosts.cpu, price, grid)
    takings_2, last_2 = takings_of(hosts.cpu_double, price_double, grid)
    cost = np.empty((3, grid + 1))
    outs = np.empty((3, grid + 1, max(n_single, n_double, 1)), np.int64)
    most = np.empty((3, 2 * grid + 1))
    leaving = np.zeros((3, 2 * grid + 1), np.int64)
    made = 0
    for q in range(len(hosts.kind)):
        points = hosts.points[hosts.kind[q]]
        s0, s1 = hosts.size[q]
        f0, f1 = hosts.free[q]
        for n in range(2):
            used = hosts.size[q, n] - hosts.free[q, n]
            reach = removal_costs(
                hosts.movable[q, n], ALL, hosts.cpu, price, mu, used, cost[n], outs[n]
            )
            _changes(takings, cost[n], reach, most[n], leaving[n])
        used = min(s0 - f0, s1 - f1)
        reach = removal_costs(
            hosts.movable_double[q], ALL, hosts.cpu_double, price_double, mu, used, cost[2],
            outs[2],
        )  # fmt: skip
        _changes(takings_2, cost[2], reach, most[2], leaving[2])
        before = points[f0, f1]
        best[q] = NEVER
        for z in range(-grid, grid + 1):
            extra = most[2, grid + z]
            if extra < NEVER / 2 or (s1 == 0 and z != 0):
                continue
            top, top_a, top_b = NEVER, 0, 0
            for a in range(max(0, f0 + z - grid), min(s0, f0 + z + grid) + 1):
                w0 = most[0, grid + a - f0 - z]
                if w0 < NEVER / 2:
                    continue
                for b in range(max(0, f1 + z - grid), min(s1, f1 + z + grid) + 1):
                    worth = points[a, b] + w0 + most[1, grid + b - f1 - z]
                    if worth > top:
                        top, top_a, top_b = worth, a, b
            top += extra - before
            best[q] = max(best[q], top)
            if top < charge[q] + 1e-6 or made == len(of_host):
                continue
            of_host[made] = q
            row = patterns[made]
            row[:] = 0
            for n in range(2):
                t = (top_a - f0 if n == 0 else top_b - f1) - z
                y = leaving[n, grid + t]
                at = 2 * n_single * n
                row[at : at + n_single] = outs[n, y, :n_single]
                x = y - t
                while x > 0:
                    row[at + n_single + last[x]] += 1
                    x -= hosts.cpu[last[x]]
            y = leaving[2, grid + z]
            at = 4 * n_single
            row[at : at + n_double] = outs[2, y, :n_double]
            x = y - z
            while x > 0:
                row[at + n_double + last_2[x]] += 1
                x -= hosts.cpu_double[last_2[x]]
            made += 1
    return made


@njit(cache=True)
def _multisets(
    cpu: np.ndarray,
    price: np.ndarray,
    limit: np.ndarray,
    table: np.ndarray,
    sign: float,
    slack: float,
    counts: np.ndarray,
    units: np.ndarray,
    pays: np.ndarray,
) -> int:
    """List multisets of VMs that pay at most `slack` less than the best of as many units.

    Args:
        cpu: int64 [F]; units of a VM of each flavor.
        price: float64 [F]; what one pays (sign 1) or costs (sign -1).
        limit: int64 [F]; the most of each flavor.
        table: float64 [G + 1]; the best by units, of `takings_of` or `removal_costs`.
        sign: 1 for VMs that enter, -1 for VMs that leave.
        slack: in points.
        counts: int64 [room, >= F]; gets the multisets.
        units: int64 [room]; gets their units.
        pays: float64 [room]; gets what they pay, below 0 for a cost.

    Returns:
        Their number; -1 if there is no room for all, or too many to look at.
    """
    n, grid = len(cpu), len(table) - 1
    now = np.zeros(n, np.int64)
    total, pay, made = 0, 0.0, 0
    for _ in range(MOST_COUNTED):
        if abs(table[total]) < -NEVER / 2 and pay >= sign * table[total] - slack - 1e-9:
            if made == len(units):
                return -1
            counts[made, :n] = now
            units[made], pays[made] = total, pay
            made += 1
        f = 0  # the next one in the order of counting, with the first flavor the lowest digit
        while f < n:
            if now[f] < limit[f] and total + cpu[f] <= grid:
                now[f] += 1
                total += cpu[f]
                pay += sign * price[f]
                break
            total -= now[f] * cpu[f]
            pay -= now[f] * sign * price[f]
            now[f] = 0
            f += 1
        if f == n:
            return made
    return -1


@njit(cache=True)
def near_patterns(
    hosts: Hosts,
    price: np.ndarray,
    price_double: np.ndarray,
    mu: float,
    best: np.ndarray,
    slack: float,
    of_host: np.ndarray,
    patterns: np.ndarray,
) -> int:
    """Write every pattern worth at least `best` - `slack` that memory allows.

    Patterns in which a VM leaves a node that another of its flavor enters are left out: less moves
    do the same.

    Args:
        hosts: the cluster.
        price: float64 [F], in points.
        price_double: float64 [D].
        mu: price of a move.
        best: float64 [Q]; worth of each host's best pattern.
        slack: in points.
        of_host: int64 [room]; gets the host of each pattern.
        patterns: int64 [room, 4 F + 2 D]; see `best_patterns`.

    Returns:
        The number of patterns; -1 if there is no room for all.
    """
    n_single, n_double = len(hosts.cpu), len(hosts.cpu_double)
    grid = hosts.points.shape[1] - 1
    room = OPTIONS
    takings, _ = takings_of(hosts.cpu, price, grid)
    takings_2, _ = takings_of(hosts.cpu_double, price_double, grid)
    wide = max(n_single, n_double, 1)
    scratch = np.empty((grid + 1, wide), np.int64)
    cost = np.empty((3, grid + 1))
    most = np.empty((3, 2 * grid + 1))
    leaving = np.zeros(2 * grid + 1, np.int64)
    into, into_units = np.empty((2, room, wide), np.int64), np.empty((2, room), np.int64)
    into_pays = np.empty((2, room))
    out, out_units = np.empty((room, wide), np.int64), np.empty(room, np.int64)
    out_pays = np.empty(room)
    unbounded = np.full(n_single, ALL)
    n_into = _multisets(
        hosts.cpu, price, unbounded, takings, 1.0, slack, into[0], into_units[0],
        into_pays[0],
    )  # fmt: skip
    n_into_2 = _multisets(
        hosts.cpu_double, price_double, np.full(n_double, ALL), takings_2, 1.0, slack,
        into[1], into_units[1], into_pays[1],
    )  # fmt: skip
    if n_into < 0 or n_into_2 < 0:
        return -1
    # Options of each node, and of both: the change in free units, what is paid, VMs out and in.
    change, pays = np.empty((3, room), np.int64), np.empty((3, room))
    moved = np.empty((3, room, 2, wide), np.int64)
    count = np.zeros(3, np.int64)
    made = 0
    ahead = np.empty(grid + 1)
    for q in range(len(hosts.kind)):
        points = hosts.points[hosts.kind[q]]
        f0, f1 = hosts.free[q]
        s0, s1 = hosts.size[q]
        for n in range(3):
            double = n == 2
            cpu = hosts.cpu_double if double else hosts.cpu
            cost_of = price_double if double else price
            movable = hosts.movable_double[q] if double else hosts.movable[q, n]
            used = min(s0 - f0, s1 - f1) if double else hosts.size[q, n] - hosts.free[q, n]
            reach = removal_costs(movable, ALL, cpu, cost_of, mu, used, cost[n], scratch)
            _changes(takings_2 if double else takings, cost[n], reach, most[n], leaving)
            n_out = _multisets(
                cpu, cost_of + mu, movable, cost[n], -1.0, slack, out, out_units, out_pays
            )
            if n_out < 0:
                return -1
            count[n] = 0
            side = 1 if double else 0
            for i in range(n_out):
                for j in range(n_into_2 if double else n_into):
                    t = out_units[i] - into_units[side, j]
                    paid = out_pays[i] + into_pays[side, j]
                    if paid < most[n, grid + t] - slack - 1e-9 or (double and s1 == 0 and t != 0):
                        continue
                    clash = False
                    for f in range(len(cpu)):
                        clash |= out[i, f] > 0 and into[side, j, f] > 0
                    if clash:
                        continue
                    if count[n] == room:
                        return -1
                    k = count[n]
                    change[n, k], pays[n, k] = t, paid
                    moved[n, k, 0], moved[n, k, 1] = out[i], into[side, j]
                    count[n] += 1
        least = best[q] + points[f0, f1] - slack - 1e-9
        for d in range(count[2]):
            z = change[2, d]
            ahead[:] = NEVER  # the most that node 1 can add to points, by where node 0 gets
            for a in range(s0 + 1):
                for b in range(max(0, f1 + z - grid), min(s1, f1 + z + grid) + 1):
                    ahead[a] = max(ahead[a], points[a, b] + most[1, grid + b - f1 - z])
            for i in range(count[0]):
                a = f0 + z + change[0, i]
                if a < 0 or a > s0 or ahead[a] + pays[0, i] + pays[2, d] < least:
                    continue
                for j in range(count[1]):
                    b = f1 + z + change[1, j]
                    if b < 0 or b > s1:
                        continue
                    if points[a, b] + pays[0, i] + pays[1, j] + pays[2, d] < least:
                        continue
                    fits = True
                    for n in range(2):
                        spare, k = hosts.free_mem[q, n], i if n == 0 else j
                        for f in range(n_single):
                            spare += (moved[n, k, 0, f] - moved[n, k, 1, f]) * hosts.mem[f]
                        for f in range(n_double):
                            spare += (moved[2, d, 0, f] - moved[2, d, 1, f]) * hosts.mem_double[f]
                        fits &= spare >= 0
                    if not fits:
                        continue
                    if made == len(of_host):
                        return -1
                    of_host[made] = q
                    row = patterns[made]
                    for side in range(2):
                        at = side * n_single
                        row[at : at + n_single] = moved[0, i, side, :n_single]
                        at += 2 * n_single
                        row[at : at + n_single] = moved[1, j, side, :n_single]
                        at = 4 * n_single + side * n_double
                        row[at : at + n_double] = moved[2, d, side, :n_double]
                    made += 1
    return made
