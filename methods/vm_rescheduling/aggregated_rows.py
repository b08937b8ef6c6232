"""Blocks of columns and rows of the aggregated model (aggregated.py)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ...datasets.hosts import LARGE_CORES, LARGE_MEM_MB
from ...datasets.vm_rescheduling.instance import ACTIVE
from ...envs.vm_rescheduling.dynamics import FREE, MEM_FREE, MIXED, State, Static
from ..highs import MixedIntegerProgram

# Columns that count VMs: their flavor, PM and node, int64 [N, 3]; their indices, int64 [N].
Counted = tuple[np.ndarray, np.ndarray]


class Builder:
    """Collect columns, rows and entries of a program, block by block.

    Attributes:
        upper, cost: float64 [N] for each block of N columns.
        low, high: float64 [N] for each block of N rows.
        entries: rows, columns and values, each [N], for each block of N entries.
        n_columns, n_rows: columns and rows so far.
    """

    def __init__(self) -> None:
        self.upper: list[np.ndarray] = []
        self.cost: list[np.ndarray] = []
        self.low: list[np.ndarray] = []
        self.high: list[np.ndarray] = []
        self.entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.n_columns = self.n_rows = 0

    def columns(self, upper: np.ndarray, cost: np.ndarray | float) -> np.ndarray:
        """Add N integer columns with lower bound 0.

        Args:
            upper: [N]; upper bounds.
            cost: [N], or one number for all.

        Returns:
            Indices of the columns, int64 [N].
        """
        self.upper.append(np.asarray(upper, np.float64))
        self.cost.append(np.broadcast_to(np.asarray(cost, np.float64), len(upper)))
        self.n_columns += len(upper)
        return np.arange(self.n_columns - len(upper), self.n_columns)

    def rows(self, low: np.ndarray | float, high: np.ndarray) -> np.ndarray:
        """Add N rows low <= row . x <= high, without entries.

        Args:
            low: [N], or one number for all; -inf for no limit.
            high: [N]; inf for no limit.

        Returns:
            Indices of the rows, int64 [N].
        """
        self.high.append(np.asarray(high, np.float64))
        self.low.append(np.broadcast_to(np.asarray(low, np.float64), len(high)))
        self.n_rows += len(high)
        return np.arange(self.n_rows - len(high), self.n_rows)

    def add(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray | float) -> None:
        """Add entries of the matrix; the arguments are broadcast to one shape.

        Args:
            rows: indices of rows; entries with a negative one, which stands for a missing row, are
                dropped.
            columns: indices of columns.
            values: the entries; those of the same row and column add up.
        """
        rows, columns, values = np.broadcast_arrays(rows, columns, np.asarray(values, np.float64))
        there = rows >= 0
        self.entries.append((rows[there], columns[there], values[there]))

    def program(self, cost: np.ndarray) -> MixedIntegerProgram:
        """Assemble the program with costs float64 [C]; entries of one row and column add up."""
        rows, columns, values = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        return MixedIntegerProgram(
            cost=cost,
            lower=np.zeros(self.n_columns),
            upper=np.concatenate(self.upper),
            matrix=sp.csc_matrix((values, (rows, columns)), shape=(self.n_rows, self.n_columns)),
            row_lower=np.concatenate(self.low),
            row_upper=np.concatenate(self.high),
            integer=np.ones(self.n_columns, np.bool_),
        )


def add_use(
    b: Builder,
    static: Static,
    need: np.ndarray,
    row: np.ndarray,
    out: Counted,
    into: Counted,
    flip: Counted,
) -> None:
    """Add the entries for a resource that counted VMs take from, or free on, each node.

    Args:
        b: receives the entries.
        static: the cluster.
        need: int64 [K]; what one VM of each flavor uses on each of its nodes: CPU, or memory in MB.
        row: int64 [P, 2]; index of each node's row, -1 where there is none.
        out: columns of the VMs that leave.
        into: columns of the VMs that enter.
        flip: columns of the flips.
    """
    for (cells, columns), sign in ((out, -1.0), (into, 1.0), (flip, -1.0)):
        kind, pm, node = cells.T
        b.add(row[pm, node], columns, sign * need[kind])
        two = static.flavor_nodes[kind] == 2
        b.add(row[pm[two], 1], columns[two], sign * need[kind[two]])
    kind, pm, node = flip[0].T
    b.add(row[pm, 1 - node], flip[1], need[kind])


def add_rounded(
    b: Builder,
    static: Static,
    start: State,
    divisor: int,
    slot_at: np.ndarray,
    slot_c: np.ndarray,
    out: Counted,
    into: Counted,
    flip: Counted,
) -> None:
    """Add the CPU rows after mixed-integer rounding, which cuts off most of the fractional slots.

    Over the divisor a CPU row reads sum_j a_j x_j <= q + r with whole q and 0 <= r < 1. For whole x
    >= 0 it implies sum_j g(a_j) x_j <= q, where g(a) is the whole part of a plus what its fraction
    exceeds r by, over 1 - r (Nemhauser and Wolsey 1990). At r = 0 that is the row itself. With
    ROUNDING_CORES as divisors proofs on look-alikes of Medium take a third of the time.

    Args:
        b: receives the rows.
        static: the cluster.
        start: the state before the plan.
        divisor: CPU, in the instance's unit.
        slot_at: int64 [S, 2]; PM and node of each slot column.
        slot_c: int64 [S]; the slot columns.
        out: columns of the VMs that leave.
        into: columns of the VMs that enter.
        flip: columns of the flips.
    """
    at = tuple(slot_at.T)
    free = start.free_cpu[at]
    rest = np.zeros(start.free_cpu.shape)
    rest[at] = free % divisor / divisor
    new = free % divisor > 0
    row = np.full(start.free_cpu.shape, -1, np.int64)
    row[tuple(slot_at[new].T)] = b.rows(-np.inf, free[new] // divisor)

    def put(pm: np.ndarray, node: np.ndarray, columns: np.ndarray, cpu: np.ndarray) -> None:
        r, fraction = rest[pm, node], cpu % divisor / divisor
        b.add(row[pm, node], columns, cpu // divisor + np.maximum(0.0, fraction - r) / (1.0 - r))

    put(slot_at[:, 0], slot_at[:, 1], slot_c, np.full(len(slot_c), static.unit))
    for (cells, columns), sign in ((out, -1), (into, 1), (flip, -1)):
        kind, pm, node = cells.T
        cpu = sign * static.flavor_cpu[kind]
        put(pm, node, columns, cpu)
        two = static.flavor_nodes[kind] == 2
        put(pm[two], node[two] + 1, columns[two], cpu[two])
    kind, pm, node = flip[0].T
    put(pm, 1 - node, flip[1], static.flavor_cpu[kind])


def memory_may_bind(
    static: Static, start: State, out: np.ndarray, into: np.ndarray, cpu_leaving: np.ndarray
) -> np.ndarray:
    """Find the nodes whose memory row does not follow from their CPU row.

    Let h and l be the most and the least memory a CPU unit of the flavors that move. The VMs that
    enter need at most h times their CPU, and the CPU row lets in no more than is free and leaves:

        mem in - mem out <= h (free + cpu out) - l cpu out <= h free + (h - l) (CPU that may leave).

    Where that is no more than the free memory, the memory row follows from the CPU row.

    Args:
        static: the cluster.
        start: the state before the plan.
        out: int64 [N_out, 3]; flavor, PM and node of VMs that may leave.
        into: int64 [N_in, 3]; flavor, PM and node that VMs may enter.
        cpu_leaving: int64 [P, 2]; CPU of all VMs that may leave each node.

    Returns:
        bool [P, 2]; all True for objective mixed, which needs every row.
    """
    if static.objective == MIXED:
        return np.ones_like(start.free_cpu, np.bool_)
    moved = np.unique(np.concatenate([out[:, 0], into[:, 0]]))
    if len(moved) == 0:
        return np.zeros_like(start.free_cpu, np.bool_)
    if (static.flavor_mem[moved[static.flavor_cpu[moved] == 0]] > 0).any():
        return np.ones_like(start.free_cpu, np.bool_)  # memory that no CPU stands for
    rate = static.flavor_mem / np.maximum(1, static.flavor_cpu)
    high, low = rate[moved].max(), rate[moved].min()
    binds: np.ndarray = high * start.free_cpu + (high - low) * cpu_leaving > start.free_mem
    return binds


def add_mixed(
    b: Builder,
    static: Static,
    start: State,
    slot_at: np.ndarray,
    slot_c: np.ndarray,
    mem_row: np.ndarray,
    most_slots: np.ndarray,
    most_mem: np.ndarray,
) -> None:
    """Add 64-core and memory slots, at their worth in 16-core slots (objective mixed).

    A PM has as many 64-core slots as each of its two nodes has pairs of 16-core slots (or its only
    node quadruples).

    Args:
        b: receives columns, rows and entries.
        static: the cluster.
        start: the state before the plan.
        slot_at: int64 [S, 2]; PM and node of each 16-core slot column.
        slot_c: int64 [S]; the 16-core slot columns.
        mem_row: int64 [P, 2]; index of each node's memory row.
        most_slots: int64 [S]; the most 16-core slots of each node.
        most_mem: int64 [S]; the most free memory of each node, MB.
    """
    free, mem_free = (max(1, int(start.totals[total])) for total in (FREE, MEM_FREE))
    pms, pm_of_slot = np.unique(slot_at[:, 0], return_inverse=True)
    most = np.zeros(len(pms))
    np.maximum.at(most, pm_of_slot, most_slots)
    large = b.columns(most // 2, -static.weights[1] * LARGE_CORES / 16)
    rows = b.rows(-np.inf, np.zeros(len(slot_at)))
    b.add(rows, slot_c, -1.0)
    b.add(rows, large[pm_of_slot], (LARGE_CORES // 16) / static.pm_nodes[slot_at[:, 0]])
    worth = static.weights[2] * LARGE_MEM_MB * free / (mem_free * static.unit)
    mem_slots = b.columns(most_mem // LARGE_MEM_MB, -worth)
    b.add(mem_row[tuple(slot_at.T)], mem_slots, float(LARGE_MEM_MB))


def add_goal(
    b: Builder,
    static: Static,
    start: State,
    mnl: int,
    slot_c: np.ndarray,
    out: np.ndarray,
    out_c: np.ndarray,
) -> None:
    """Add the slots missing to the goal, each at more than all moves together (moves_to_goal).

    FR <= goal where 16 slots >= (1 - goal) free; VMs that leave PMs that are not ACTIVE take from
    free.

    Args:
        b: receives the column and the row.
        static: the cluster.
        start: the state before the plan.
        mnl: the most moves.
        slot_c: int64 [S]; the slot columns.
        out: int64 [N, 3]; flavor, PM and node of VMs that may leave.
        out_c: int64 [N]; their columns.
    """
    unit, kept = float(static.unit), 1.0 - static.goal_rate
    needed = kept * float(start.totals[FREE])
    missing = b.columns(np.array([np.ceil(needed / unit)]), mnl + 1.0)
    goal = b.rows(needed - 1e-6 * unit, np.array([np.inf]))
    b.add(goal[0], slot_c, unit)
    b.add(goal[0], missing, unit)
    inactive = static.pm_status[out[:, 1]] != ACTIVE
    used = static.flavor_cpu[out[:, 0]] * static.flavor_nodes[out[:, 0]]
    b.add(goal[0], out_c[inactive], kept * used[inactive])


def own_flavors(static: Static) -> Static:
    """Return the cluster with a flavor of their own for members of the same deployment sets.

    Replicas of one flavor and the same sets are interchangeable, and so counted together.
    """
    members = np.flatnonzero(np.diff(static.vm_set_start) > 0)
    classes: dict[tuple[int, ...], int] = {}
    vm_flavor = static.vm_flavor.copy()
    for vm in members.tolist():
        groups = np.sort(static.vm_sets[static.vm_set_start[vm] : static.vm_set_start[vm + 1]])
        key = (int(static.vm_flavor[vm]), *groups.tolist())
        vm_flavor[vm] = classes.setdefault(key, len(static.flavor_cpu) + len(classes))
    kinds = np.array([flavor for flavor, *_ in classes], np.int64)
    return static._replace(
        vm_flavor=vm_flavor,
        flavor_cpu=np.concatenate([static.flavor_cpu, static.flavor_cpu[kinds]]),
        flavor_mem=np.concatenate([static.flavor_mem, static.flavor_mem[kinds]]),
        flavor_nodes=np.concatenate([static.flavor_nodes, static.flavor_nodes[kinds]]),
    )


def add_sets(
    b: Builder, static: Static, start: State, out: Counted, into: Counted, flip: Counted
) -> None:
    """Add the rows of deployment sets, whose members have flavors of their own (`own_flavors`).

    Two members end on one host (or in one rack) only if neither moved: the later of their moves
    would have been illegal. So at most one comes to a place, and none to a place where another was
    before and stays: n of a flavor that were there have all left if one comes.

    Args:
        b: receives the rows.
        static: the cluster, a result of `own_flavors`.
        start: the state before the plan.
        out: columns of the VMs that leave.
        into: columns of the VMs that enter.
        flip: columns of the flips.
    """
    coming = np.concatenate([into[0], flip[0]])  # a flip stays on its PM
    columns = np.concatenate([into[1], flip[1]])
    for group in range(len(static.set_by_rack)):
        members = static.set_vms[static.set_start[group] : static.set_start[group + 1]]
        flavors = static.vm_flavor[members]
        place_of = static.pm_rack if static.set_by_rack[group] else np.arange(len(static.pm_rack))
        here = np.isin(coming[:, 0], flavors)
        places, place = np.unique(place_of[coming[here, 1]], return_inverse=True)
        b.add(b.rows(-np.inf, np.ones(len(places)))[place], columns[here], 1.0)
        homes = np.column_stack([flavors, place_of[start.vm_pm[members]]])
        for (flavor, home), count in zip(
            *np.unique(homes, axis=0, return_counts=True), strict=True
        ):
            row = b.rows(-np.inf, np.zeros(1))
            b.add(row, columns[here & (place_of[coming[:, 1]] == home)], float(count))
            for cells, leaving in (out, flip):
                at_home = (cells[:, 0] == flavor) & (place_of[cells[:, 1]] == home)
                b.add(row, leaving[at_home], -1.0)
