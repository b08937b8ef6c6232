"""Prices, patterns and a small exact choice among them (column generation). Uses highspy, scipy and numba.

Flavour prices come from the Lagrangian dual (pricing.py); at these prices the patterns near each node's best are listed
and a mixed-integer program chooses one a node so that flavours balance and at most MNL VMs move. Rounds list more and
larger patterns until the budget ends or the plan meets the dual bound. The choice is over a few thousand columns, so it
takes milliseconds where the model over all counts (milp.py) takes seconds.

Serves fragment_rate and moves_to_goal; for the other objectives, and where CPU has no coarse unit, local_search answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
import scipy.sparse as sp

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import ACTIVE, Cluster
from ...envs.vm_rescheduling.dynamics import FREE, State, Static, make_state, make_static
from ...envs.vm_rescheduling.objective import fragment_rate, value
from . import local_search
from .expand import expand
from .pricing import (
    GridError,
    Nodes,
    Prices,
    first_prices,
    improve_prices,
    make_nodes,
    multisets,
    node_patterns,
    slot_bound,
)

# (slots from a node's best, VMs out, VMs in) of each round: a pattern list that grows from hundreds to 10^5 columns.
ROUNDS = ((0.3, 1, 2), (0.5, 2, 2), (0.7, 2, 3), (1.0, 3, 3))
MAX_COLUMNS = 150_000
PRICE_STEPS = 120
RESERVE_S = 0.01


@dataclass(frozen=True, slots=True)
class Columns:
    """Patterns to choose from.

    Attributes:
        pm: int64 [N]; row in Nodes.pms.
        patterns: int64 [N, 4F + 2D]; as in pricing.best_patterns.
        gain: int64 [N]; slots opened.
        balance: int64 [N, F + D]; VMs entering minus VMs leaving, by flavour.
        moves: int64 [N]; VMs leaving.
        nodes_used: bool [N, 2].
    """

    pm: np.ndarray
    patterns: np.ndarray
    gain: np.ndarray
    balance: np.ndarray
    moves: np.ndarray
    nodes_used: np.ndarray


def solve(instance: Cluster, budget: Budget, seed: int, prices: Prices | None = None) -> Solution:
    """Plans by column generation; `prices`, if given, is where the dual search starts.

    One evaluation is one master problem solved.
    """
    clock = budget.start()
    if instance.objective not in ("fragment_rate", "moves_to_goal"):
        return local_search.search(instance, clock, seed)
    try:
        nodes = make_nodes(instance)
    except GridError:
        return local_search.search(instance, clock, seed)
    static = make_static(instance)
    start = make_state(instance, static)
    rng = np.random.default_rng(seed)
    prices = prices or first_prices(nodes)
    prices, _, pm, patterns = improve_prices(nodes, instance.mnl, prices, PRICE_STEPS)
    best = np.zeros(0, np.int64)
    best_value = value(static, start.totals)
    clock.incumbent(best)
    ceiling = int(np.floor(slot_bound(nodes, instance.mnl, prices) + 1e-6))
    bound = _objective_bound(instance, static, start, ceiling)
    for slack, most_out, most_in in ROUNDS:
        if clock.remaining < RESERVE_S:
            break
        columns = _list_columns(nodes, prices, slack, most_out, most_in, pm, patterns)
        chosen = _choose(instance, nodes, columns, start, clock)
        clock.evaluations += 1
        if chosen is None:
            continue
        actions, reached = _plan(nodes, static, start, columns.patterns[chosen], columns.pm[chosen], rng)
        if reached < best_value - 1e-12:
            best, best_value = actions, reached
            clock.incumbent(best)
        if bound is not None and best_value <= bound + 1e-9:
            return clock.solution(best, "optimal", bound)
    return clock.solution(best, "feasible", bound)


def _missing_slots(instance: Cluster, static: Static, start: State) -> int:
    """16-core slots to open to reach the goal rate."""
    excess = (fragment_rate(start.totals) - instance.goal_rate) * start.totals[FREE] / static.unit
    return max(0, int(np.ceil(excess - 1e-9)))


def _objective_bound(
    instance: Cluster, static: Static, start: State, ceiling: int
) -> float | None:
    """The objective that no plan opening at most `ceiling` slots can beat.

    None where VMs can leave PMs that do not count, since that changes the free cores in all.
    """
    outside = instance.pm_status[instance.vm_pm] != ACTIVE
    if (outside & ~instance.vm_pinned).any():
        return None
    if instance.objective == "moves_to_goal":
        missing = _missing_slots(instance, static, start)
        return None if missing <= ceiling else float(instance.mnl + missing - ceiling)
    return float(fragment_rate(start.totals) - static.unit * ceiling / start.totals[FREE])


def _list_columns(
    nodes: Nodes,
    prices: Prices,
    slack: float,
    most_out: int,
    most_in: int,
    met_pm: np.ndarray,
    met: np.ndarray,
) -> Columns:
    """Patterns of one node near its best, two-node VMs alone, and whatever the dual search met."""
    n_single, n_double = len(nodes.single), len(nodes.double)
    outs, out_size = multisets(n_single, most_out)
    ins, in_size = multisets(n_single, most_in)
    pm, node = np.empty(MAX_COLUMNS, np.int64), np.empty(MAX_COLUMNS, np.int64)
    table = np.empty((MAX_COLUMNS, 2 * n_single), np.int64)
    made = node_patterns(
        nodes.free, nodes.free_mem, nodes.movable, nodes.cpu, nodes.mem, nodes.slot,
        prices.single, prices.move, outs, out_size, ins, in_size, slack, pm, node, table,
    )  # fmt: skip
    pm, node, table = pm[:made], node[:made], table[:made]
    wide = np.zeros((made, 4 * n_single + 2 * n_double), np.int64)
    for side in (0, 1):
        rows = np.flatnonzero(node == side)
        wide[rows, 2 * n_single * side : 2 * n_single * (side + 1)] = table[rows]
    double_pm, double = _two_node_patterns(nodes, prices, slack)
    pm = np.concatenate([pm, double_pm, met_pm])
    patterns = np.unique(np.column_stack([pm, np.concatenate([wide, double, met])]), axis=0)
    pm, patterns = patterns[:, 0], patterns[:, 1:]
    f = n_single
    out = np.stack([patterns[:, :f], patterns[:, 2 * f : 3 * f]], axis=1)
    into = np.stack([patterns[:, f : 2 * f], patterns[:, 3 * f : 4 * f]], axis=1)
    out_2, into_2 = patterns[:, 4 * f : 4 * f + n_double], patterns[:, 4 * f + n_double :]
    shift = ((out_2 - into_2) @ nodes.cpu_double)[:, None]
    shift_mem = ((out_2 - into_2) @ nodes.mem_double)[:, None]
    free = nodes.free[pm] + (out - into) @ nodes.cpu + shift
    fits = (free >= 0) & (nodes.free_mem[pm] + (out - into) @ nodes.mem + shift_mem >= 0)
    keep = fits.all(axis=1)
    two_sided = out_2.any(axis=1) | into_2.any(axis=1)
    return Columns(
        pm=pm[keep],
        patterns=patterns[keep],
        gain=(free // nodes.slot - nodes.free[pm] // nodes.slot).sum(axis=1)[keep],
        balance=np.column_stack([(into - out).sum(axis=1), into_2 - out_2])[keep],
        moves=(out.sum(axis=(1, 2)) + out_2.sum(axis=1))[keep],
        nodes_used=((out + into).any(axis=2) | two_sided[:, None])[keep],
    )


def _two_node_patterns(
    nodes: Nodes, prices: Prices, slack: float
) -> tuple[np.ndarray, np.ndarray]:
    """One two-node VM leaving or entering a PM and nothing else there, where that is within `slack`."""
    n_single, n_double = len(nodes.single), len(nodes.double)
    pms, rows = [], []
    for d in range(n_double):
        for into in (0, 1):
            shift = nodes.cpu_double[d] * (1 - 2 * into)
            free = nodes.free + shift
            gain = (free // nodes.slot - nodes.free // nodes.slot).sum(axis=1)
            price = -prices.double[d] if into else prices.double[d] + prices.move
            possible = (free >= 0).all(axis=1) if into else nodes.movable_double[:, d] > 0
            pm = np.flatnonzero(possible & (gain - price >= -slack))
            row = np.zeros((len(pm), 4 * n_single + 2 * n_double), np.int64)
            row[:, 4 * n_single + into * n_double + d] = 1
            pms.append(pm)
            rows.append(row)
    width = 4 * n_single + 2 * n_double
    none = np.zeros((0, width), np.int64)
    return np.concatenate([*pms, np.zeros(0, np.int64)]), np.concatenate([*rows, none])


def _choose(
    instance: Cluster, nodes: Nodes, columns: Columns, start: State, clock: Clock
) -> np.ndarray | None:
    """The columns of the best balanced choice, by HiGHS; None where the time ran out before any."""
    n_columns, n_pms = len(columns.pm), len(nodes.pms)
    at = np.arange(n_columns)
    one_a_node = [
        sp.csr_matrix((used.astype(float), (columns.pm, at)), shape=(n_pms, n_columns))
        for used in columns.nodes_used.T
    ]
    rows = [*one_a_node, sp.csr_matrix(columns.balance.T.astype(float))]
    n_balance = columns.balance.shape[1]
    low = [np.full(2 * n_pms, -np.inf), np.zeros(n_balance)]
    high = [np.ones(2 * n_pms), np.zeros(n_balance)]
    if instance.pm_move_cap:
        width = columns.moves + columns.balance.sum(axis=1) + columns.moves  # out + in
        rows.append(sp.csr_matrix((width.astype(float), (columns.pm, at)), shape=(n_pms, n_columns)))
        low.append(np.full(n_pms, -np.inf))
        high.append(np.full(n_pms, float(instance.pm_move_cap)))
    rows.append(sp.csr_matrix(columns.moves[None].astype(float)))
    low.append(np.array([-np.inf]))
    high.append(np.array([float(instance.mnl)]))
    cost = -columns.gain.astype(float)
    matrix = sp.vstack(rows).tocsc()
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n_columns, matrix.shape[0]
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.zeros(n_columns), np.ones(n_columns)
    lp.row_lower_, lp.row_upper_ = np.concatenate(low), np.concatenate(high)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    lp.integrality_ = [highspy.HighsVarType.kInteger] * n_columns
    if clock.remaining < RESERVE_S:
        return None
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("time_limit", max(RESERVE_S, clock.remaining - 2 * RESERVE_S))
    solver.passModel(lp)
    solver.run()
    if solver.getInfo().primal_solution_status != 2:
        return None
    return np.flatnonzero(np.array(solver.getSolution().col_value) > 0.5)


def _plan(
    nodes: Nodes,
    static: Static,
    start: State,
    patterns: np.ndarray,
    pm: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Chosen patterns as an executable plan and its objective."""
    f, d = len(nodes.single), len(nodes.double)
    leaving: list[tuple[int, int, int]] = []
    entering: list[tuple[int, int, int]] = []
    for row, q in zip(patterns, pm, strict=True):
        for k in np.flatnonzero(row):
            if k < 4 * f:
                side, rest = divmod(int(k), 2 * f)
                rows, flavour = (leaving, rest) if rest < f else (entering, rest - f)
                item = (int(nodes.single[flavour]), int(nodes.pms[q]), side)
            else:
                rows, flavour = (leaving, k - 4 * f) if k < 4 * f + d else (entering, k - 4 * f - d)
                item = (int(nodes.double[flavour]), int(nodes.pms[q]), 0)
            rows.extend([item] * int(row[k]))
    out = np.array(leaving, np.int64).reshape(-1, 3)
    into = np.array(entering, np.int64).reshape(-1, 3)
    return expand(static, start, out, into, rng)
