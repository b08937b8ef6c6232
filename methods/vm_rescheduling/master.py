"""The master problem of column generation: how many nodes carry out each pattern.

Nodes with equal free CPU differ only in the VMs they hold, so a one-node pattern is a column for a
whole *supply set*: the nodes with `level` units free that hold the VMs it sends away. The master
chooses a number of nodes for it, not a node. A pattern with a two-node VM is a column of its own
PM. With x the numbers chosen:

    maximize slots opened, subject to
    for each flavor: VMs entering = VMs leaving;    VMs leaving <= MNL;
    for each PM: at most one two-node column;
    for a set W of nodes: the columns that can use no node outside W use at most |W| nodes
        (Hall's condition).

There is a Hall row for each supply set; `assign` finds a node for each pattern chosen, or the set W
of a row to add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import maximum_bipartite_matching

from .. import highs
from ..highs import MixedIntegerProgram, Outcome
from .patterns import multisets, node_columns, two_node_columns
from .pricing import Nodes, Prices

MOST_OUT, MOST_IN = 2, 4  # VMs that leave, and that enter, one node in a one-node pattern
ROOM = 100_000  # columns that one round of pricing may write


@dataclass(slots=True)
class Master:
    """The columns and rows so far. N nodes (numbered 2 q + n), F one-node and D two-node flavors.

    Attributes:
        nodes: the cluster; Q PMs.
        outs: int64 [O, F]; multisets of VMs that may leave a node.
        ins: int64 [J, F]; multisets of VMs that may enter a node.
        exchanges: int64 [E, 2 D]; two-node VMs that may leave, and enter, one PM.
        level: int64 [S]; free CPU units of each node of a supply set.
        out_of: int64 [S]; the set's row in `outs`.
        members: bool [S, N]; the nodes of each supply set.
        member_start, member_node: `members` as compressed rows, int64 [S + 1] and [members].
        hall: bool [W, N]; the node sets of the Hall rows; the first `contained.shape[1]` are supply
            sets.
        contained: bool [S, W_0]; which supply sets lie inside which of those.
        have: bool [S, J]; the one-node columns there are.
        one: int64 [A, 3]; supply set, row in `ins`, and most nodes, of each one-node column.
        two: int64 [B, 1 + 4F + 2D]; row in Nodes.pms and pattern (see `two_node_columns`), of each
            two-node column.
    """

    nodes: Nodes
    outs: np.ndarray
    ins: np.ndarray
    exchanges: np.ndarray
    level: np.ndarray
    out_of: np.ndarray
    members: np.ndarray
    member_start: np.ndarray
    member_node: np.ndarray
    hall: np.ndarray
    contained: np.ndarray
    have: np.ndarray
    one: np.ndarray
    two: np.ndarray


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The optimum of the master in fractions, with its prices.

    Attributes:
        slots: slots opened.
        moves: VMs leaving.
        prices: duals of the flavor and move rows, in slots.
        set_price: float64 [S]; what the Hall rows charge for a node of a supply set.
        pm_price: float64 [Q]; what they and its own row charge for both nodes of a PM.
    """

    slots: float
    moves: float
    prices: Prices
    set_price: np.ndarray
    pm_price: np.ndarray


@dataclass(frozen=True, slots=True)
class Choice:
    """A solution of the master in whole numbers.

    Attributes:
        slots: slots opened.
        moves: VMs leaving.
        one: int64 [A', 3]; rows of Master.one, one for each node that carries the pattern out.
        two: int64 [B', 1 + 4F + 2D]; rows of Master.two.
    """

    slots: float
    moves: float
    one: np.ndarray
    two: np.ndarray


def make_master(nodes: Nodes, mnl: int) -> Master:
    """Make a master with its supply sets and no columns.

    Args:
        nodes: the cluster.
        mnl: the most moves; Hall rows of so large a set that no plan can fill it are left out.
    """
    n_single, n_double = len(nodes.single), len(nodes.double)
    outs, ins = multisets(n_single, MOST_OUT), multisets(n_single, MOST_IN)
    free = nodes.free.ravel()
    holds = (nodes.movable.reshape(len(free), 1, n_single) >= outs).all(axis=2)
    level: list[int] = []
    out_of: list[int] = []
    members, hall, blocks = [], [], []
    for units in np.unique(free):
        here = np.flatnonzero(free == units)
        present = np.flatnonzero(holds[here].any(axis=0))
        sets = holds[np.ix_(here, present)].T
        rows = np.unique(np.packbits(sets, axis=1), axis=0)
        rows = np.unpackbits(rows, axis=1, count=len(here)).astype(np.bool_)
        rows = rows[rows.sum(axis=1) < 2 * mnl]  # a plan of mnl moves touches no more nodes
        level += [int(units)] * len(present)
        out_of += present.tolist()
        members.append(_spread(sets, here, len(free)))
        hall.append(_spread(rows, here, len(free)))
        blocks.append(sets.astype(np.float32) @ ~rows.T < 0.5)
    every = np.concatenate(members)
    contained = np.zeros((len(every), sum(len(rows) for rows in hall)), np.bool_)
    top = left = 0
    for block in blocks:
        contained[top : top + block.shape[0], left : left + block.shape[1]] = block
        top, left = top + block.shape[0], left + block.shape[1]
    return Master(
        nodes=nodes,
        outs=outs,
        ins=ins,
        exchanges=_exchanges(n_double),
        level=np.array(level, np.int64),
        out_of=np.array(out_of, np.int64),
        members=every,
        member_start=np.concatenate([[0], np.cumsum(every.sum(axis=1))]),
        member_node=np.nonzero(every)[1],
        hall=np.concatenate(hall),
        contained=contained,
        have=np.zeros((len(level), len(ins)), np.bool_),
        one=np.zeros((0, 3), np.int64),
        two=np.zeros((0, 1 + 4 * n_single + 2 * n_double), np.int64),
    )


def _exchanges(n_double: int) -> np.ndarray:
    """List the exchanges: one or two two-node VMs, each leaving or entering, no flavor both ways.

    Returns:
        int64 [E, 2 D].
    """
    sides = multisets(2 * n_double, 2)[1:]
    clash = (sides[:, :n_double] * sides[:, n_double:]).any(axis=1)
    return np.asarray(sides[~clash])


def _spread(sets: np.ndarray, here: np.ndarray, n_nodes: int) -> np.ndarray:
    """Widen sets over the nodes `here`, bool [n, len(here)], to all nodes, bool [n, N]."""
    wide = np.zeros((len(sets), n_nodes), np.bool_)
    wide[:, here] = sets
    return wide


def price_columns(master: Master, relaxed: Relaxation, slack: float) -> int:
    """Add the columns worth at least -slack at a relaxation's prices.

    Args:
        master: changed in place.
        relaxed: its prices.
        slack: in slots; negative to add only columns that improve the relaxation.

    Returns:
        The number of new columns.
    """
    nodes, prices = master.nodes, relaxed.prices
    out_price = (master.outs @ prices.single + prices.move * master.outs.sum(axis=1))[master.out_of]
    of_set, of_in = np.empty(ROOM, np.int64), np.empty(ROOM, np.int64)
    most = np.empty(ROOM, np.int64)
    clash = master.outs @ master.ins.T > 0
    spare = nodes.free_mem.ravel()[master.member_node] + np.repeat(
        (master.outs @ nodes.mem)[master.out_of], np.diff(master.member_start)
    )
    made = node_columns(
        master.level, (master.outs @ nodes.cpu)[master.out_of], out_price + relaxed.set_price,
        master.member_start, spare, master.ins @ nodes.cpu, master.ins @ nodes.mem,
        master.ins @ prices.single, clash, master.out_of, nodes.slot, slack, master.have,
        of_set, of_in, most,
    )  # fmt: skip
    new = np.column_stack([of_set[:made], of_in[:made], most[:made]])
    master.one = np.concatenate([master.one, new])
    pm = np.empty(ROOM, np.int64)
    patterns = np.empty((ROOM, master.two.shape[1] - 1), np.int64)
    leaving, entering = np.hsplit(master.exchanges, 2)
    made_two = two_node_columns(
        nodes.free, nodes.movable, nodes.movable_double, nodes.cpu, master.exchanges,
        (leaving - entering) @ nodes.cpu_double,
        (leaving - entering) @ prices.double + prices.move * leaving.sum(axis=1),
        nodes.slot, nodes.grid, prices.single, prices.move, relaxed.pm_price, slack, pm, patterns,
    )  # fmt: skip
    before = len(master.two)
    found = np.column_stack([pm[:made_two], patterns[:made_two]])
    found = found[_fits_memory(nodes, found)]
    known = {row.tobytes() for row in master.two}
    fresh = [row for row in found if row.tobytes() not in known]
    master.two = np.concatenate(
        [master.two, np.array(fresh, np.int64).reshape(-1, master.two.shape[1])]
    )
    return int(made) + len(master.two) - before


def _fits_memory(nodes: Nodes, two: np.ndarray) -> np.ndarray:
    """Test two-node columns, int64 [B, 1 + 4F + 2D], for memory on their PM: bool [B]."""
    out, into, out_2, into_2 = split_pattern(nodes, two[:, 1:])
    spare = nodes.free_mem[two[:, 0]] + (out - into) @ nodes.mem
    spare += ((out_2 - into_2) @ nodes.mem_double)[:, None]
    fits: np.ndarray = (spare >= 0).all(axis=1)
    return fits


def split_pattern(
    nodes: Nodes, patterns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split patterns into their four parts.

    Args:
        nodes: the cluster.
        patterns: int64 [B, 4F + 2D].

    Returns:
        VMs that leave and that enter each node, both int64 [B, 2, F]; two-node VMs that leave and
        that enter, both int64 [B, D].
    """
    f, d = len(nodes.single), len(nodes.double)
    singles = patterns[:, : 4 * f].reshape(len(patterns), 2, 2, f)
    doubles = patterns[:, 4 * f :].reshape(len(patterns), 2, d)
    return singles[:, :, 0], singles[:, :, 1], doubles[:, 0], doubles[:, 1]


def relax(master: Master, mnl: int, goal: int | None, seconds: float) -> Relaxation | None:
    """Solve the master in fractions.

    Args:
        master: the columns and rows.
        mnl: the most moves.
        goal: slots to open with the fewest moves; None to open the most slots.
        seconds: wall-clock limit.

    Returns:
        The optimum with its prices; None where the time ran out or the goal cannot be met.
    """
    program = _program(master, master.one, master.two)
    outcome = _run(program, mnl, goal, seconds, whole=False)
    if outcome.x is None or not outcome.optimal:
        return None
    x, dual = outcome.x, outcome.row_dual
    n_hall, n_single = len(master.hall), len(master.nodes.single)
    n_below = n_hall + len(program.pms)
    scale = 1.0 if goal is None else max(dual[-1], 1e-9)  # slots a unit of the objective is worth
    charge = np.maximum(0.0, -dual[:n_below]) / scale
    pm_price = (charge[:n_hall] @ master.hall).reshape(-1, 2).sum(axis=1)
    pm_price[program.pms] += charge[n_hall:]
    per_flavor = dual[n_below:-2] / scale
    move = max(0.0, -dual[-2] / scale + (0.0 if goal is None else 1.0 / scale))
    return Relaxation(
        slots=float(program.gain @ x),
        moves=float(program.moves @ x),
        prices=Prices(per_flavor[:n_single], per_flavor[n_single:], move),
        set_price=master.contained @ charge[: master.contained.shape[1]],
        pm_price=pm_price,
    )


def choose(
    master: Master,
    relaxed: Relaxation,
    slack: float,
    mnl: int,
    goal: int | None,
    seconds: float,
) -> Choice | None:
    """Solve the master in whole numbers, over the columns worth -slack at a relaxation's prices.

    Args:
        master: the columns and rows.
        relaxed: its prices.
        slack: in slots.
        mnl: the most moves.
        goal: slots to open with the fewest moves; None to open the most slots.
        seconds: wall-clock limit.

    Returns:
        The best choice found; None where the time ran out before any, or the goal cannot be met.
    """
    prices = relaxed.prices
    program = _program(master, master.one, master.two)
    per_flavor = np.concatenate([prices.single, prices.double])
    worth = program.gain + program.balance @ per_flavor - prices.move * program.moves
    worth -= np.concatenate(
        [relaxed.set_price[master.one[:, 0]], relaxed.pm_price[master.two[:, 0]]]
    )
    near = worth >= -slack - 1e-9
    one, two = master.one[near[: len(master.one)]], master.two[near[len(master.one) :]]
    program = _program(master, one, two)
    outcome = _run(program, mnl, goal, seconds, whole=True)
    if outcome.x is None:
        return None
    x = np.round(outcome.x).astype(np.int64)
    return Choice(
        slots=float(program.gain @ x),
        moves=float(program.moves @ x),
        one=np.repeat(one, x[: len(one)], axis=0),
        two=two[x[len(one) :] > 0],
    )


@dataclass(frozen=True, slots=True)
class _Program:
    """C columns as a linear program; its rows are Hall sets (W), PMs, flavors, moves and slots.

    Attributes:
        matrix: CSC, float64 [rows, C].
        gain: float64 [C]; slots that each column opens.
        moves: float64 [C]; VMs that leave.
        balance: float64 [C, F + D]; VMs that enter less VMs that leave, by flavor.
        most: float64 [C]; upper bounds.
        pms: int64; the PMs of two-node columns, one row each.
        hall_size: int64 [W]; nodes of each Hall set.
    """

    matrix: sp.csc_matrix
    gain: np.ndarray
    moves: np.ndarray
    balance: np.ndarray
    most: np.ndarray
    pms: np.ndarray
    hall_size: np.ndarray


def _program(master: Master, one: np.ndarray, two: np.ndarray) -> _Program:
    """Lay out one-node columns, int64 [A, 3], and two-node columns, int64 [B, 1 + 4F + 2D]."""
    nodes = master.nodes
    outs, ins = master.outs[master.out_of[one[:, 0]]], master.ins[one[:, 1]]
    units = master.level[one[:, 0]]
    gain_one = (units + (outs - ins) @ nodes.cpu) // nodes.slot - units // nodes.slot
    out, into, out_2, into_2 = split_pattern(nodes, two[:, 1:])
    free = nodes.free[two[:, 0]]
    after = free + (out - into) @ nodes.cpu + ((out_2 - into_2) @ nodes.cpu_double)[:, None]
    gain_two = (after // nodes.slot - free // nodes.slot).sum(axis=1)
    gain = np.concatenate([gain_one, gain_two]).astype(np.float64)
    moves = np.concatenate([outs.sum(axis=1), out.sum(axis=(1, 2)) + out_2.sum(axis=1)])
    single = np.concatenate([ins - outs, (into - out).sum(axis=1)])
    double = np.concatenate([np.zeros((len(one), len(nodes.double)), np.int64), into_2 - out_2])
    balance = np.column_stack([single, double]).astype(np.float64)
    used = master.hall[:, 2 * two[:, 0]].astype(np.float64) + master.hall[:, 2 * two[:, 0] + 1]
    hall = sp.hstack([sp.csr_matrix(_inside(master, one).T.astype(np.float64)), used])
    pms, row = np.unique(two[:, 0], return_inverse=True)
    once = sp.csr_matrix(
        (np.ones(len(two)), (row, len(one) + np.arange(len(two)))), (len(pms), len(gain))
    )
    coupling = np.vstack([balance.T, moves, gain])
    return _Program(
        matrix=sp.vstack([hall, once, sp.csr_matrix(coupling)]).tocsc(),
        gain=gain,
        moves=moves.astype(np.float64),
        balance=balance,
        most=np.concatenate([one[:, 2], np.ones(len(two))]).astype(np.float64),
        pms=pms,
        hall_size=master.hall.sum(axis=1),
    )


def _run(program: _Program, mnl: int, goal: int | None, seconds: float, whole: bool) -> Outcome:
    """Solve the columns' program, in whole numbers or not; see `relax` for `goal`."""
    balanced = np.zeros(program.balance.shape[1])
    below = np.concatenate([program.hall_size, np.ones(len(program.pms))])
    moves_and_slots = [-np.inf, -np.inf if goal is None else goal], [mnl, np.inf]
    return highs.solve(
        MixedIntegerProgram(
            cost=-program.gain if goal is None else program.moves,
            lower=np.zeros(len(program.gain)),
            upper=program.most,
            matrix=program.matrix,
            row_lower=np.concatenate([np.full(len(below), -np.inf), balanced, moves_and_slots[0]]),
            row_upper=np.concatenate([below, balanced, moves_and_slots[1]]),
            integer=np.full(len(program.gain), whole),
        ),
        lambda: seconds,
        gap=0.99,
        presolve=False,
        interrupt=False,
    )


def _inside(master: Master, one: np.ndarray) -> np.ndarray:
    """Find the one-node columns that can use no node outside each Hall row's set: bool [A, W]."""
    n_sets = master.contained.shape[1]
    inside = np.zeros((len(one), len(master.hall)), np.bool_)
    inside[:, :n_sets] = master.contained[one[:, 0]]
    for row in range(n_sets, len(master.hall)):
        level = master.nodes.free.ravel()[np.argmax(master.hall[row])]
        for column in np.flatnonzero(master.level[one[:, 0]] == level):
            inside[column, row] = not (_usable(master, one[column]) & ~master.hall[row]).any()
    return inside


def _usable(master: Master, column: np.ndarray) -> np.ndarray:
    """Find the nodes that a one-node column, int64 [3], fits on: bool [N]."""
    s, j, _ = column
    need = (master.ins[j] - master.outs[master.out_of[s]]) @ master.nodes.mem
    usable: np.ndarray = master.members[s] & (master.nodes.free_mem.ravel() >= need)
    return usable


def assign(master: Master, choice: Choice) -> tuple[np.ndarray, np.ndarray | None]:
    """Find a node for each one-node pattern of a choice.

    Args:
        master: the columns and rows.
        choice: with A' one-node patterns.

    Returns:
        int64 [A'], the node of each row of `choice.one`, and None; or, where there are too few
        nodes, -1 for the rows without one, and the nodes W of the Hall row that rules this choice
        out, bool [N].
    """
    allowed = np.zeros((len(choice.one), master.members.shape[1]), np.bool_)
    for i, column in enumerate(choice.one):
        allowed[i] = _usable(master, column)
    usable = allowed.copy()
    usable[:, 2 * choice.two[:, 0]] = usable[:, 2 * choice.two[:, 0] + 1] = False
    node_of = maximum_bipartite_matching(sp.csr_matrix(usable), perm_type="column")
    served = node_of >= 0
    if served.all():
        return node_of, None
    pattern_at = np.full(usable.shape[1], -1)
    pattern_at[node_of[served]] = np.flatnonzero(served)
    reached = {int(np.argmin(served))}
    front = list(reached)
    while front:
        for node in np.flatnonzero(usable[front.pop()]):
            pattern = int(pattern_at[node])
            if pattern not in reached:
                reached.add(pattern)
                front.append(pattern)
    return node_of, np.logical_or.reduce(allowed[sorted(reached)])
