"""The aggregated model: how many VMs of a flavor leave and enter each node.

VMs of one flavor on one NUMA node are interchangeable, so counting them makes a model of a few
thousand integers where one binary per VM and destination makes a million. For flavor f, node n:

    minimize   - sum_n slots_n                                (other objectives: see `build`)
    subject to 16 slots_n + sum_f cpu_f (in_fn - out_fn) <= free CPU of n     for every node
               sum_f mem_f (in_fn - out_fn) <= free memory of n               for every node
               sum_n in_fn = sum_n out_fn                                  for every flavor
               sum out <= MNL,   0 <= out_fn <= VMs there that may move

Two-node flavors are counted by PM and stand in the rows of both nodes. With a move cap, flips (a
VM going to its PM's other node, one move for its PM and not two) are counted apart.

Every executable plan of at most MNL moves ends in a state that is a point of this model: where a
VM moves more than once, or is replaced by another of its flavor, the point needs fewer moves. So
the optimum bounds all plans. The model ignores the order of moves and, unless asked,
deployment sets. Both only shrink the set of plans; `expand` sees to them, and the bound holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...datasets.hosts import FRAGMENT_CORES
from ...datasets.vm_rescheduling.instance import ACTIVE, OUTAGE
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
from ..highs import MixedIntegerProgram
from .aggregated_rows import (
    Builder,
    add_goal,
    add_mixed,
    add_rounded,
    add_sets,
    add_use,
    memory_may_bind,
)

ROUNDING_CORES = (16, 12, 8)


@dataclass(frozen=True, slots=True)
class Model:
    """The aggregated model of a cluster: a program, and what its columns and rows mean.

    Attributes:
        program: all columns are integers from 0; C columns and R rows.
        implied: bool [R]; rows that cut off fractional points only, no point of whole numbers.
        out: int64 [N_out, 3]; flavor, PM and node of the first columns, which count the VMs that
            leave.
        into: int64 [N_in, 3]; the same of the next columns, which count the VMs that enter.
        flip: int64 [N_flip, 3]; the same of the next columns, which count flips; the node is the
            one that the VM leaves.
        slot_columns: int64 [S]; the columns that count 16-core slots, one for each node.
        slot_at: int64 [S, 2]; PM and node of each slot column.
        whole: whether every point costs a whole number, so that a gap below 1 proves optimality.
        drain_cost: cost of one VM on a host to drain (objective drain).
        leaves_inactive: whether VMs may leave PMs that are not ACTIVE, which changes the sum of
            free CPU.
        slots_per_core: as given to `build`.
        least_free: the least free CPU, on ACTIVE PMs, after any plan.
    """

    program: MixedIntegerProgram
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


def build(
    static: Static,
    start: State,
    mnl: int,
    part: np.ndarray | None = None,
    slots_per_core: float = 0.0,
    sets: bool = False,
) -> Model:
    """Build the aggregated model of a cluster, or of a part of it.

    Args:
        static: the cluster.
        start: its state before the plan.
        mnl: the most moves.
        part: bool [P]; the PMs that take part (pop); None for all.
        slots_per_core: worth, in slots, of one unit less of free CPU, where VMs leave PMs that are
            not ACTIVE (Dinkelbach's method for the fraction slots / free; see
            aggregated_search.py).
        sets: whether to keep deployment sets apart; `static` is then a result of `own_flavors`.
    """
    inside = np.ones(len(static.pm_status), np.bool_) if part is None else part
    movable = _movable(static, start, inside)
    cpu_leaving, mem_leaving = _could_leave(static, movable)
    out = np.argwhere(movable > 0)
    into, most_in = _entrances(static, start, movable, cpu_leaving, mem_leaving, inside, mnl)
    single = static.flavor_nodes[out[:, 0]] == 1
    flip = out[:0]
    if static.pm_move_cap < mnl:
        from_active = static.pm_status[out[:, 1]] == ACTIVE
        flip = out[single & from_active & (static.pm_nodes[out[:, 1]] == 2)]
    b = Builder()
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
    add_use(b, static, static.flavor_cpu, cpu_row, (out, out_c), (into, in_c), (flip, flip_c))
    mem_row = np.full((len(inside), 2), -1, np.int64)
    binding = memory_may_bind(static, start, out, into, cpu_leaving)[at]
    mem_at = tuple(slot_at[binding].T)
    mem_row[mem_at] = b.rows(-np.inf, start.free_mem[mem_at])
    add_use(b, static, static.flavor_mem, mem_row, (out, out_c), (into, in_c), (flip, flip_c))
    balance = b.rows(0.0, np.zeros(len(static.flavor_cpu)))
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
        add_mixed(b, static, start, slot_at, slot_c, mem_row, most_slots, most_mem)
    if static.objective == MOVES_TO_GOAL:
        add_goal(b, static, start, mnl, slot_c, out, out_c)
    if sets:
        add_sets(b, static, start, (out, out_c), (into, in_c), (flip, flip_c))
    binding_rows = b.n_rows
    for divisor in static.unit * np.array(ROUNDING_CORES) // FRAGMENT_CORES:
        counted = (out, out_c), (into, in_c), (flip, flip_c)
        add_rounded(b, static, start, divisor, slot_at, slot_c, *counted)
    implied = np.arange(b.n_rows) >= binding_rows
    cost = np.concatenate(b.cost)
    drain_cost = 0.0
    if static.objective == DRAIN:
        # One VM more on a drained host outweighs every slot there can be.
        drain_cost = float(start.totals[FREE] + cpu_leaving[inside].sum()) // static.unit + 2.0
        cost[in_c] += drain_cost * static.pm_drain[into[:, 1]]
        cost[out_c] -= drain_cost * static.pm_drain[out[:, 1]]
    inactive = static.pm_status[out[:, 1]] != ACTIVE
    used = static.flavor_cpu[out[:, 0]] * static.flavor_nodes[out[:, 0]]
    if static.objective in (FRAGMENT_RATE, DRAIN):
        cost[out_c] -= slots_per_core * used * inactive
    return Model(
        program=b.program(cost),
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
    """Return the free CPU left if the largest VMs on PMs that are not ACTIVE all move to ACTIVE
    ones.

    Args:
        start: the state before the plan.
        movable: int64 [K, P, 2]; VMs that may leave, by flavor, PM and node.
        used: int64 [N]; CPU of one VM of each row of `out`, over all its nodes.
        out: int64 [N, 3]; flavor, PM and node of VMs on PMs that are not ACTIVE.
        mnl: the most moves.
    """
    sizes = np.sort(np.repeat(used, movable[tuple(out.T)]))[::-1]
    return float(max(1, start.totals[FREE] - sizes[:mnl].sum()))


def _movable(static: Static, start: State, inside: np.ndarray) -> np.ndarray:
    """Count the VMs that may leave, by flavor, PM and node: int64 [K, P, 2]."""
    host = start.vm_pm
    capped = start.pm_moves[host] >= static.pm_move_cap
    may = (static.vm_pinned == 0) & (static.pm_status[host] != OUTAGE) & inside[host] & ~capped
    movable = np.zeros((len(static.flavor_cpu), len(inside), 2), np.int64)
    np.add.at(movable, (static.vm_flavor[may], host[may], start.vm_numa[may]), 1)
    return movable


def _could_leave(static: Static, movable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the CPU and the memory of all VMs that may leave each node, both int64 [P, 2]."""
    two = static.flavor_nodes == 2
    on_node = movable.copy()
    on_node[two, :, 1] = movable[two, :, 0]
    cpu = np.einsum("kpn,k->pn", on_node, static.flavor_cpu)
    return cpu, np.einsum("kpn,k->pn", on_node, static.flavor_mem)


def _entrances(
    static: Static,
    start: State,
    movable: np.ndarray,
    cpu_leaving: np.ndarray,
    mem_leaving: np.ndarray,
    inside: np.ndarray,
    mnl: int,
) -> tuple[np.ndarray, np.ndarray]:
    """List where VMs of each flavor could ever enter.

    Returns:
        int64 [N, 3], flavor, PM and node; and int64 [N], the most VMs that could enter there.
    """
    cpu = (start.free_cpu + cpu_leaving)[None] // np.maximum(1, static.flavor_cpu)[:, None, None]
    cpu[static.flavor_cpu == 0] = mnl
    mem = (start.free_mem + mem_leaving)[None] // np.maximum(1, static.flavor_mem)[:, None, None]
    mem[static.flavor_mem == 0] = mnl
    most = np.minimum(cpu, mem)
    two = static.flavor_nodes == 2
    most[two, :, 0] = most[two].min(axis=2)
    most[two, :, 1] = 0
    most[:, static.pm_nodes == 1, 1] = 0
    most[np.ix_(two, static.pm_nodes == 1)] = 0
    most[:, (static.pm_status != ACTIVE) | ~inside] = 0
    elsewhere = movable.sum(axis=(1, 2))[:, None, None] - movable
    most = np.minimum(np.minimum(most, elsewhere), mnl)
    into = np.argwhere(most > 0)
    return into, most[tuple(into.T)]


def counts_of(model: Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read off a point which VMs leave and enter where, as `expand` takes it.

    Args:
        model: the model, of C columns.
        x: float64 [C]; a point of it.

    Returns:
        The M VMs that leave and the M places that are entered, both int64 [M, 3]: flavor, PM and
        node (0 for two-node flavors), one row for each VM.
    """
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
    """Compute the point of the model that stands for the state after a plan.

    Args:
        model: the model, of C columns.
        static: the cluster that the model was built of.
        start: the state before the plan.
        end: the state after the plan.

    Returns:
        float64 [C]; None if the model has flip columns, since net counts do not determine them.
    """
    if len(model.flip):
        return None
    shape = (len(static.flavor_cpu), len(static.pm_status), 2)
    change = np.zeros(shape, np.int64)
    np.add.at(change, (static.vm_flavor, end.vm_pm, end.vm_numa), 1)
    np.add.at(change, (static.vm_flavor, start.vm_pm, start.vm_numa), -1)
    program = model.program
    x = np.zeros(len(program.cost))
    n_out, n_in = len(model.out), len(model.into)
    x[:n_out] = np.maximum(0, -change[tuple(model.out.T)])
    x[n_out : n_out + n_in] = np.maximum(0, change[tuple(model.into.T)])
    x[model.slot_columns] = end.free_cpu[tuple(model.slot_at.T)] // static.unit
    last = int(model.slot_columns[-1])
    activity = program.matrix @ x
    for column in range(last + 1, len(x)):  # no row holds two of these
        at = slice(program.matrix.indptr[column], program.matrix.indptr[column + 1])
        rows, factors = program.matrix.indices[at], program.matrix.data[at]
        if program.cost[column] > 0:
            x[column] = np.ceil(((program.row_lower[rows] - activity[rows]) / factors).max())
        else:
            x[column] = np.floor(((program.row_upper[rows] - activity[rows]) / factors).min())
        x[column] = np.clip(x[column], 0, program.upper[column])
    return x


def objective_bound(
    model: Model, static: Static, start: State, dual: float, mnl: int
) -> float | None:
    """Turn a lower bound on the model's cost into a bound on the objective of any plan.

    Args:
        model: the model.
        static: the cluster that the model was built of.
        start: the state before the plan.
        dual: proven lower bound on the model's cost.
        mnl: the most moves.

    Returns:
        The bound, in the objective's unit. None if ACTIVE PMs have no free CPU, and for objective
        mixed where VMs may leave PMs that are not ACTIVE: the model's cost is then exact only to
        first order around the start.
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
    """Return the least of VMs on drained hosts + FR over the points that cost at least `dual`.

    With d VMs more on drained hosts, a point with S slots and F free has drain_cost d - S -
    slots_per_core (free now - F) >= dual, which limits S / F.
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
