"""Good patterns at given prices, compiled: what column generation adds to its master."""

from __future__ import annotations

import numpy as np
from numba import njit

from .pricing import (
    MAX_OUT,
    best_removal,
    gains_of,
    removal_costs,
    takings_of,
)


@njit(cache=True)
def multisets(n_kinds: int, largest: int) -> np.ndarray:
    """List all multisets of up to `largest` items.

    Args:
        n_kinds: number of kinds of items.
        largest: the most items in a multiset.

    Returns:
        Counts by kind, int64 [M, n_kinds]; smaller multisets first, so the empty one is row 0.
    """
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
    level: np.ndarray,
    out_cpu: np.ndarray,
    out_price: np.ndarray,
    start: np.ndarray,
    spare_mem: np.ndarray,
    in_cpu: np.ndarray,
    in_mem: np.ndarray,
    in_price: np.ndarray,
    clash: np.ndarray,
    out_of: np.ndarray,
    slot: int,
    slack: float,
    have: np.ndarray,
    of_set: np.ndarray,
    of_in: np.ndarray,
    most: np.ndarray,
) -> int:
    """Write the one-node patterns worth at least -slack, for S supply sets and J multisets taken
    in.

    A supply set is the nodes with equal free CPU that hold the same multiset of VMs to send away. A
    pattern is worth the slots it opens, plus in_price, less out_price.

    Args:
        level: int64 [S]; free CPU units of each node of the set.
        out_cpu: int64 [S]; CPU units of the VMs sent away.
        out_price: float64 [S]; price, in slots, of sending them away and of using a node of the
            set.
        start: int64 [S + 1]; the nodes of set s are spare_mem[start[s]:start[s + 1]].
        spare_mem: int64 [start[S]]; memory of each node once the VMs are gone, MB.
        in_cpu: int64 [J]; CPU units of the VMs taken in.
        in_mem: int64 [J]; their memory, MB.
        in_price: float64 [J]; what they pay, in slots.
        clash: bool [O, J]; whether a multiset sent away shares a flavor with one taken in.
        out_of: int64 [S]; each set's row in `clash`.
        slot: CPU units in 16 cores.
        slack: in slots.
        have: bool [S, J]; patterns to pass over; those written are marked.
        of_set: int64 [room]; gets the supply set of each pattern.
        of_in: int64 [room]; gets the multiset it takes in.
        most: int64 [room]; gets the number of nodes of the set that it fits on.

    Returns:
        The number of patterns written, at most `room`.
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
    free: np.ndarray,
    movable: np.ndarray,
    movable_double: np.ndarray,
    cpu: np.ndarray,
    exchanges: np.ndarray,
    exchange_cpu: np.ndarray,
    exchange_price: np.ndarray,
    slot: int,
    grid: int,
    price: np.ndarray,
    mu: float,
    pm_price: np.ndarray,
    slack: float,
    of_pm: np.ndarray,
    patterns: np.ndarray,
) -> int:
    """Write, for each PM and each exchange of two-node VMs there, the best pattern if worth -slack.

    Args:
        free: int64 [Q, 2]; free CPU units of each node.
        movable: int64 [Q, 2, F]; VMs that may leave each node, by one-node flavor.
        movable_double: int64 [Q, D]; VMs that may leave each PM, by two-node flavor.
        cpu: int64 [F]; CPU units of a VM of each one-node flavor.
        exchanges: int64 [E, 2 D]; two-node VMs that leave (D) and enter (D).
        exchange_cpu: int64 [E]; CPU units that each exchange frees on either node.
        exchange_price: float64 [E]; what it costs, in slots.
        slot: CPU units in 16 cores.
        grid: CPU units of the largest node.
        price: float64 [F]; price of each one-node flavor, in slots.
        mu: price of a move, in slots.
        pm_price: float64 [Q]; price of using both nodes of a PM, in slots.
        slack: in slots.
        of_pm: int64 [room]; gets the PM of each pattern.
        patterns: int64 [room, 4 F + 2 D]; gets the pattern: VMs out of node 0 (F), into node 0 (F),
            out of node 1 (F), into node 1 (F), two-node VMs out (D), in (D).

    Returns:
        The number of patterns written, at most `room`.
    """
    n_single, n_double = len(cpu), movable_double.shape[1]
    takings, last = takings_of(cpu, price, grid)
    gain, filled = gains_of(takings, slot)
    cost = np.empty((2, grid + 1))
    outs = np.empty((2, grid + 1, n_single), np.int64)
    reach = np.zeros(2, np.int64)
    taken = np.zeros(2, np.int64)
    made = 0
    for p in range(free.shape[0]):
        known = False
        before = free[p, 0] // slot + free[p, 1] // slot
        for e in range(len(exchanges)):
            shift = exchange_cpu[e]
            present = True
            for d in range(n_double):
                present &= movable_double[p, d] >= exchanges[e, d]
            if not present:
                continue
            if not known:
                known = True
                for n in range(2):
                    reach[n] = removal_costs(
                        movable[p, n], MAX_OUT, cpu, price, mu, grid - free[p, n], cost[n], outs[n]
                    )
            value = -exchange_price[e] - before - pm_price[p]
            for n in range(2):
                taken[n], top = best_removal(cost[n], reach[n], free[p, n] + shift, gain)
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
            row[4 * n_single :] = exchanges[e]
            made += 1
    return made
