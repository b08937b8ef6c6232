"""The aggregated model: how many VMs of a flavour leave and enter each node. Uses numpy and scipy.

VMs of one flavour on one NUMA node are interchangeable, so counting them makes a model of a few
thousand integers where one binary per VM and destination makes a million. For flavour f, node n:

    minimize   - sum_n slots_n                                (other objectives: see `build`)
    subject to 16 slots_n + sum_f cpu_f (in_fn - out_fn) <= free CPU of n     for every node
               sum_f mem_f (in_fn - out_fn) <= free memory of n               for every node
               sum_n in_fn = sum_n out_fn                                  for every flavour
               sum out <= MNL,   0 <= out_fn <= VMs there that may move

Two-node flavours are counted by PM and stand in the rows of both nodes. With a move cap, flips (a
VM going to its PM's other node, one move for its PM and not two) are counted apart.

Every executable plan of at most MNL moves ends in a state that is a point of this model: where a
VM moves more than once, or is replaced by another of its flavour, the point needs fewer moves. So
the optimum bounds all plans. The model knows nothing of the order of moves nor of deployment sets,
which only shrink the set of plans; `expand` sees to both, and the bound stays valid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ...datasets.vm_rescheduling.instance import (
    ACTIVE,
    FRAGMENT_CORES,
    LARGE_CORES,
    LARGE_MEM_MB,
    OUTAGE,
)
from ...envs.vm_rescheduling.dynamics import (
    DRAIN,
    FRAGMENT_RATE,
    FREE,
    MEM_FREE,
    MIXED,
    MOVES_TO_GOAL,
    ON_DRAIN,
    State,
    Static,
)

ROUNDING_CORES = (16, 14, 10, 8)

Counted = tuple[
    np.ndarray, np.ndarray
]  # (flavour, PM, node) of columns that count VMs; the columns


@dataclass(frozen=True, slots=True)
class Model:
    """minimize cost . x, row_lower <= matrix x <= row_upper, 0 <= x <= upper, x integer.

    Attributes:
        cost, upper: float64 [C].
        matrix: sparse CSC [R, C].
        row_lower, row_upper: float64 [R].
        implied: bool [R]; rows that cut off no point, only fractions.
        out, into, flip: int64 [N, 3]; flavour, PM and node (of a flip: the node it leaves) of the
            first columns, which count VMs, in this order.
        slot_columns: int64 [S]; the columns of 16-core slots.
        slot_at: int64 [S, 2]; their PM and node.
        whole: whether every point costs a whole number, so that a gap below 1 proves optimality.
        drain_cost: cost of one VM on a host to drain (objective drain).
        leaves_inactive: whether VMs may leave PMs that do not count, which changes the free cores.
        slots_per_core: as given to `build`.
        least_free: the least free CPU, on PMs that count, after any plan.
    """

    cost: np.ndarray
    upper: np.ndarray
    matrix: sp.csc_matrix
    row_lower: np.ndarray
    row_upper: np.ndarray
    implied: np.ndarray
    out: np.ndarray
    into: np.ndarray
    flip: np.ndarray
    slot_columns: np.ndarray
    slot_at: np.ndarray
    whole: bool
    drain_cost: float
    leaves_inactive: bool
    slots_per_core: float
    least_free: float


class _Builder:
    """Collects columns, rows and entries block by block."""

    def __init__(self) -> None:
        self.upper: list[np.ndarray] = []
        self.cost: list[np.ndarray] = []
        self.low: list[np.ndarray] = []
        self.high: list[np.ndarray] = []
        self.entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.n_columns = self.n_rows = 0

    def columns(self, upper: np.ndarray, cost: np.ndarray | float) -> np.ndarray:
        """New columns, as their indices."""
        self.upper.append(np.asarray(upper, np.float64))
        self.cost.append(np.broadcast_to(np.asarray(cost, np.float64), len(upper)))
        self.n_columns += len(upper)
        return np.arange(self.n_columns - len(upper), self.n_columns)

    def rows(self, low: np.ndarray | float, high: np.ndarray) -> np.ndarray:
        """New rows, as their indices."""
        self.high.append(np.asarray(high, np.float64))
        self.low.append(np.broadcast_to(np.asarray(low, np.float64), len(high)))
        self.n_rows += len(high)
        return np.arange(self.n_rows - len(high), self.n_rows)

    def add(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray | float) -> None:
        """Entries; those with a negative row, for a row that is not there, are dropped."""
        rows, columns, values = np.broadcast_arrays(rows, columns, np.asarray(values, np.float64))
        there = rows >= 0
        self.entries.append((rows[there], columns[there], values[there]))

    def matrix(self) -> sp.csc_matrix:
        """All entries; several at one place add up."""
        rows, columns, values = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        return sp.csc_matrix((values, (rows, columns)), shape=(self.n_rows, self.n_columns))


def build(
    static: Static,
    start: State,
    mnl: int,
    part: np.ndarray | None = None,
    slots_per_core: float = 0.0,
) -> Model:
    """The model of a cluster, or of a part of it.

    Args:
        static: the cluster.
        start: its state before the plan.
        mnl: the most moves.
        part: bool [P]; the PMs that take part (pop); None for all.
        slots_per_core: what a free CPU unit less is worth, in slots, where VMs leave PMs that do
            not count (Dinkelbach's method for the fraction slots / free; see milp.py).
    """
    inside = np.ones(len(static.pm_status), np.bool_) if part is None else part
    movable = _movable(static, start, inside)
    cpu_leaving, mem_leaving = _could_leave(static, movable)
    out = np.argwhere(movable > 0)
    into, most_in = _entrances(static, start, movable, cpu_leaving, mem_leaving, inside, mnl)
    single = static.flavour_nodes[out[:, 0]] == 1
    flip = out[:0]
    if static.pm_move_cap < mnl:
        from_active = static.pm_status[out[:, 1]] == ACTIVE
        flip = out[single & from_active & (static.pm_nodes[out[:, 1]] == 2)]
    b = _Builder()
    move_cost = 1.0 if static.objective == MOVES_TO_GOAL else 0.0
    slot_cost = {MIXED: -static.weights[0], MOVES_TO_GOAL: 0.0}.get(static.objective, -1.0)
    out_c = b.columns(movable[tuple(out.T)], move_cost)
    in_c = b.columns(most_in, 0.0)
    flip_c = b.columns(movable[tuple(flip.T)], move_cost)
    active = (static.pm_status == ACTIVE) & inside
    slot_at = np.argwhere((np.arange(2) < static.pm_nodes[:, None]) & active[:, None])
    at = tuple(slot_at.T)
    most_slots = (start.free_cpu + cpu_leaving)[at] // static.unit
    slot_c = b.columns(most_slots, slot_cost)
    cpu_row = np.full((len(inside), 2), -1, np.int64)
    cpu_row[at] = b.rows(-np.inf, start.free_cpu[at])
    b.add(cpu_row[at], slot_c, static.unit)
    _add_use(b, static, static.flavour_cpu, cpu_row, (out, out_c), (into, in_c), (flip, flip_c))
    mem_row = np.full((len(inside), 2), -1, np.int64)
    binding = _memory_may_bind(static, start, out, into, cpu_leaving)[at]
    mem_at = tuple(slot_at[binding].T)
    mem_row[mem_at] = b.rows(-np.inf, start.free_mem[mem_at])
    _add_use(b, static, static.flavour_mem, mem_row, (out, out_c), (into, in_c), (flip, flip_c))
    balance = b.rows(0.0, np.zeros(len(static.flavour_cpu)))
    b.add(balance[into[:, 0]], in_c, 1.0)
    b.add(balance[out[:, 0]], out_c, -1.0)
    moves = b.rows(-np.inf, np.array([mnl]))
    b.add(moves[0], np.concatenate([out_c, flip_c]), 1.0)
    if static.pm_move_cap < mnl:
        cap = b.rows(-np.inf, static.pm_move_cap - start.pm_moves)
        b.add(cap[out[:, 1]], out_c, 1.0)
        b.add(cap[into[:, 1]], in_c, 1.0)
        b.add(cap[flip[:, 1]], flip_c, 1.0)
        there = b.rows(-np.inf, movable[tuple(flip.T)])
        column = np.zeros(movable.shape, np.int64)
        column[tuple(out.T)] = out_c
        b.add(there, column[tuple(flip.T)], 1.0)
        b.add(there, flip_c, 1.0)
    if static.objective == MIXED:
        most_mem = (start.free_mem + mem_leaving)[at]
        _add_mixed(b, static, start, slot_at, slot_c, mem_row, most_slots, most_mem)
    if static.objective == MOVES_TO_GOAL:
        _add_goal(b, static, start, mnl, slot_c, out, out_c)
    binding_rows = b.n_rows
    for divisor in static.unit * np.array(ROUNDING_CORES) // FRAGMENT_CORES:
        counted = (out, out_c), (into, in_c), (flip, flip_c)
        _add_rounded(b, static, start, divisor, slot_at, slot_c, *counted)
    implied = np.arange(b.n_rows) >= binding_rows
    cost = np.concatenate(b.cost)
    drain_cost = 0.0
    if static.objective == DRAIN:
        # One VM more on a drained host outweighs every slot there can be.
        drain_cost = float(start.totals[FREE] + cpu_leaving[inside].sum()) // static.unit + 2.0
        cost[in_c] += drain_cost * static.pm_drain[into[:, 1]]
        cost[out_c] -= drain_cost * static.pm_drain[out[:, 1]]
    inactive = static.pm_status[out[:, 1]] != ACTIVE
    used = static.flavour_cpu[out[:, 0]] * static.flavour_nodes[out[:, 0]]
    if static.objective in (FRAGMENT_RATE, DRAIN):
        cost[out_c] -= slots_per_core * used * inactive
    return Model(
        cost=cost,
        upper=np.concatenate(b.upper),
        matrix=b.matrix(),
        row_lower=np.concatenate(b.low),
        row_upper=np.concatenate(b.high),
        implied=implied,
        out=out,
        into=into,
        flip=flip,
        slot_columns=slot_c,
        slot_at=slot_at,
        whole=bool((cost == np.rint(cost)).all()),
        drain_cost=drain_cost,
        leaves_inactive=bool(inactive.any()),
        slots_per_core=slots_per_core,
        least_free=_least_free(start, movable, used[inactive], out[inactive], mnl),
    )


def _least_free(
    start: State, movable: np.ndarray, used: np.ndarray, out: np.ndarray, mnl: int
) -> float:
    """Free CPU left if the largest VMs on PMs that do not count all move to PMs that do."""
    sizes = np.sort(np.repeat(used, movable[tuple(out.T)]))[::-1]
    return float(max(1, start.totals[FREE] - sizes[:mnl].sum()))


def _movable(static: Static, start: State, inside: np.ndarray) -> np.ndarray:
    """int64 [K, P, 2]; VMs that may leave, by flavour, PM and node."""
    host = start.vm_pm
    capped = start.pm_moves[host] >= static.pm_move_cap
    may = ~static.vm_pinned & (static.pm_status[host] != OUTAGE) & inside[host] & ~capped
    movable = np.zeros((len(static.flavour_cpu), len(inside), 2), np.int64)
    np.add.at(movable, (static.vm_flavour[may], host[may], start.vm_numa[may]), 1)
    return movable


def _could_leave(static: Static, movable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CPU and memory of all VMs that may leave each node, both int64 [P, 2]."""
    two = static.flavour_nodes == 2
    on_node = movable.copy()
    on_node[two, :, 1] = movable[two, :, 0]
    cpu = np.einsum("kpn,k->pn", on_node, static.flavour_cpu)
    return cpu, np.einsum("kpn,k->pn", on_node, static.flavour_mem)


def _entrances(
    static: Static,
    start: State,
    movable: np.ndarray,
    cpu_leaving: np.ndarray,
    mem_leaving: np.ndarray,
    inside: np.ndarray,
    mnl: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Where VMs of a flavour could ever enter, int64 [N, 3], and how many at most."""
    cpu = (start.free_cpu + cpu_leaving)[None] // static.flavour_cpu[:, None, None]
    mem = (start.free_mem + mem_leaving)[None] // np.maximum(1, static.flavour_mem)[:, None, None]
    most = np.minimum(cpu, mem)
    two = static.flavour_nodes == 2
    most[two, :, 0] = most[two].min(axis=2)
    most[two, :, 1] = 0
    most[:, static.pm_nodes == 1, 1] = 0
    most[np.ix_(two, static.pm_nodes == 1)] = 0
    most[:, (static.pm_status != ACTIVE) | ~inside] = 0
    elsewhere = movable.sum(axis=(1, 2))[:, None, None] - movable
    most = np.minimum(np.minimum(most, elsewhere), mnl)
    into = np.argwhere(most > 0)
    return into, most[tuple(into.T)]


def _add_use(
    b: _Builder,
    static: Static,
    need: np.ndarray,
    row: np.ndarray,
    out: Counted,
    into: Counted,
    flip: Counted,
) -> None:
    """What the counted VMs take from and give to each node of what they need."""
    for (cells, columns), sign in ((out, -1.0), (into, 1.0), (flip, -1.0)):
        kind, pm, node = cells.T
        b.add(row[pm, node], columns, sign * need[kind])
        two = static.flavour_nodes[kind] == 2
        b.add(row[pm[two], 1], columns[two], sign * need[kind[two]])
    kind, pm, node = flip[0].T
    b.add(row[pm, 1 - node], flip[1], need[kind])


def _add_rounded(
    b: _Builder,
    static: Static,
    start: State,
    divisor: int,
    slot_at: np.ndarray,
    slot_c: np.ndarray,
    out: Counted,
    into: Counted,
    flip: Counted,
) -> None:
    """The CPU rows after mixed-integer rounding, which cuts off most of the fractional slots.

    Over the divisor a CPU row reads sum_j a_j x_j <= q + r with whole q and 0 <= r < 1. For whole
    x >= 0 it implies sum_j g(a_j) x_j <= q, where g(a) is the whole part of a plus what its
    fraction exceeds r by, over 1 - r (Nemhauser and Wolsey 1990). At r = 0 that is the row itself.
    With ROUNDING_CORES as divisors proofs on look-alikes of Medium take a third of the time.
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
        cpu = sign * static.flavour_cpu[kind]
        put(pm, node, columns, cpu)
        two = static.flavour_nodes[kind] == 2
        put(pm[two], node[two] + 1, columns[two], cpu[two])
    kind, pm, node = flip[0].T
    put(pm, 1 - node, flip[1], static.flavour_cpu[kind])


def _memory_may_bind(
    static: Static, start: State, out: np.ndarray, into: np.ndarray, cpu_leaving: np.ndarray
) -> np.ndarray:
    """The nodes whose memory row says more than their CPU row, bool [P, 2].

    Let h and l be the most and the least memory a CPU unit of the flavours that move. What
    enters needs at most h times its CPU, and the CPU row lets in no more than is free and leaves:

        mem in - mem out <= h (free + cpu out) - l cpu out <= h free + (h - l) (CPU that may leave).

    Where that is no more than the free memory, the memory row follows from the CPU row.
    """
    if static.objective == MIXED:
        return np.ones_like(start.free_cpu, np.bool_)
    rate = static.flavour_mem / static.flavour_cpu
    moved = np.unique(np.concatenate([out[:, 0], into[:, 0]]))
    if len(moved) == 0:
        return np.zeros_like(start.free_cpu, np.bool_)
    high, low = rate[moved].max(), rate[moved].min()
    return high * start.free_cpu + (high - low) * cpu_leaving > start.free_mem


def _add_mixed(
    b: _Builder,
    static: Static,
    start: State,
    slot_at: np.ndarray,
    slot_c: np.ndarray,
    mem_row: np.ndarray,
    most_slots: np.ndarray,
    most_mem: np.ndarray,
) -> None:
    """64-core and memory slots, at what they are worth in 16-core slots.

    A PM has as many 64-core slots as each of its two nodes has pairs of 16-core slots (or its only
    node quadruples).
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


def _add_goal(
    b: _Builder,
    static: Static,
    start: State,
    mnl: int,
    slot_c: np.ndarray,
    out: np.ndarray,
    out_c: np.ndarray,
) -> None:
    """The slots missing to the goal, each at more than all moves together.

    FR <= goal where 16 slots >= (1 - goal) free; VMs leaving PMs that do not count take from free.
    """
    unit, kept = float(static.unit), 1.0 - static.goal_rate
    needed = kept * float(start.totals[FREE])
    missing = b.columns(np.array([np.ceil(needed / unit)]), mnl + 1.0)
    goal = b.rows(needed - 1e-6 * unit, np.array([np.inf]))
    b.add(goal[0], slot_c, unit)
    b.add(goal[0], missing, unit)
    inactive = static.pm_status[out[:, 1]] != ACTIVE
    used = static.flavour_cpu[out[:, 0]] * static.flavour_nodes[out[:, 0]]
    b.add(goal[0], out_c[inactive], kept * used[inactive])


def counts_of(model: Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The VMs that leave and enter at a point, one row (flavour, PM, node) a VM, for `expand`."""
    whole = np.rint(x).astype(np.int64)
    n_out, n_in, n_flip = len(model.out), len(model.into), len(model.flip)
    flips = whole[n_out + n_in : n_out + n_in + n_flip]
    arriving = model.flip * [1, 1, -1] + [0, 0, 1]
    leaving = np.concatenate([model.out, model.flip])
    entering = np.concatenate([model.into, arriving])
    return (
        np.repeat(leaving, np.concatenate([whole[:n_out], flips]), axis=0),
        np.repeat(entering, np.concatenate([whole[n_out : n_out + n_in], flips]), axis=0),
    )


def point_of(model: Model, static: Static, start: State, end: State) -> np.ndarray | None:
    """The point of a state that a plan leads to, or None where the model counts flips apart.

    Columns beyond the slots are left NaN: the solver fills them in.
    """
    if len(model.flip):
        return None
    shape = (len(static.flavour_cpu), len(static.pm_status), 2)
    change = np.zeros(shape, np.int64)
    np.add.at(change, (static.vm_flavour, end.vm_pm, end.vm_numa), 1)
    np.add.at(change, (static.vm_flavour, start.vm_pm, start.vm_numa), -1)
    x = np.full(len(model.cost), np.nan)
    n_out, n_in = len(model.out), len(model.into)
    x[:n_out] = np.maximum(0, -change[tuple(model.out.T)])
    x[n_out : n_out + n_in] = np.maximum(0, change[tuple(model.into.T)])
    x[model.slot_columns] = end.free_cpu[tuple(model.slot_at.T)] // static.unit
    return x


def objective_bound(
    model: Model, static: Static, start: State, dual: float, mnl: int
) -> float | None:
    """The objective that no plan can beat, from a lower bound on the model's cost.

    None for objective mixed where VMs may leave PMs that do not count: its cost is linear only
    around the start there.
    """
    free, unit = int(start.totals[FREE]), static.unit
    if model.whole:
        dual = float(np.ceil(dual - 1e-6))
    if static.objective == MOVES_TO_GOAL:
        if dual <= mnl:
            return max(0.0, dual)
        return mnl + float(np.ceil((dual - mnl) / (mnl + 1) - 1e-9))
    if free == 0 or (model.leaves_inactive and static.objective == MIXED):
        return None
    if static.objective == MIXED:
        worst = float(static.weights[0] + static.weights[1])
        worst += float(static.weights[2]) if start.totals[MEM_FREE] > 0 else 0.0
        return worst + dual * unit / free
    return _rate_bound(model, start, dual, unit, mnl)


def _rate_bound(model: Model, start: State, dual: float, unit: int, mnl: int) -> float:
    """Least of VMs on drained hosts + FR over the points that cost at least `dual`.

    With d VMs more on drained hosts, a point with S slots and F free has
    drain_cost d - S - slots_per_core (free now - F) >= dual, which limits S / F.
    """
    free, rate = float(start.totals[FREE]), model.slots_per_core
    drained = int(start.totals[ON_DRAIN])
    best = np.inf
    for change in range(-min(drained, mnl), 1):
        most = model.drain_cost * change - dual
        if most < 0:
            continue
        rest = most - rate * free
        slots_a_core = rate + rest / (model.least_free if rest > 0 else free)
        best = min(best, drained + change + max(0.0, 1.0 - unit * slots_a_core))
    return float(best)
