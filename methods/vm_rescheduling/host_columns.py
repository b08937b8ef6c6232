"""Column generation over whole hosts: the objective admission, proven optimal.

A host's room depends on both of its nodes together, so a column is a pattern of one host
(host_patterns.py): which VMs leave and enter either node. With 0 or 1 of each,

    maximize points won, subject to
    for each host: at most one pattern;    for each flavor: VMs entering = VMs leaving;
    VMs leaving <= MNL.

The relaxation's prices give L = mu MNL + sum over hosts of the best pattern's worth at them, which
no plan exceeds (weak duality); the order of moves and deployment sets are left out, which only
bounds from further above. A plan of P points uses patterns that are worth at most L - P less than
their hosts' best: the choice in whole numbers among all of these is the optimum, and where it can
be carried out, it is proven.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import ACTIVE, Cluster
from ...envs.vm_rescheduling.dynamics import ROOM, State, Static, make_state, make_static
from ...envs.vm_rescheduling.objective import room_lost, value
from .. import highs
from ..highs import MixedIntegerProgram, Outcome
from . import greedy, local_search
from .expand import expand
from .host_patterns import Hosts, best_patterns, near_patterns
from .master import split_pattern
from .minimal import finish
from .pricing import NEVER, GridError, Nodes, Prices, first_prices, make_nodes

ROOM_FOR_BEST, ROOM_FOR_NEAR = 200_000, 40_000  # patterns that may be written at once
MAX_ROUNDS = 60
TOLERANCE = 1e-4  # points
SLACKS = (4.0, 10.0, 25.0, 60.0)  # points
LEAST_S = 0.03  # with fewer seconds left, nothing more is begun
ROUND_S = 2e-4  # a host, for pricing on a grid of 22 units and what follows it
SAME = 1e-9
RELAX_SHARE = 0.7  # of the time left, for the relaxation
# Where the patterns near the best are too many: share of the time left for a local search, and of
# what is left then for a choice among the relaxation's, if that is worth while.
SEARCH_SHARE, CHOICE_SHARE, CHOICE_S = 0.4, 0.8, 1.0
SAFE = 0.85  # share of the time left that HiGHS gets, as it reads its clock only now and then
FIRST_PLANS = 2  # greedy plans made first, so that there is an incumbent early


@dataclass(slots=True)
class Columns:
    """Patterns of hosts; Q hosts, F one-node and D two-node flavors.

    Attributes:
        host: int64 [C].
        pattern: int64 [C, 4F + 2D]; see `best_patterns`.
        gain: float64 [C]; points won.
        moves: int64 [C]; VMs that leave.
        balance: int64 [C, F + D]; VMs that enter less VMs that leave.
    """

    host: np.ndarray
    pattern: np.ndarray
    gain: np.ndarray
    moves: np.ndarray
    balance: np.ndarray


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The best bound met on the relaxation's way.

    Attributes:
        prices: of flavors and moves, in points.
        worth: float64 [Q]; of each host's best pattern at them.
        points: L, which no plan exceeds.
        columns: the patterns that were priced.
    """

    prices: Prices
    worth: np.ndarray
    points: float
    columns: Columns


def make_hosts(cluster: Cluster, static: Static, nodes: Nodes) -> Hosts:
    """Make the view of a cluster by whole hosts.

    Args:
        cluster: with objective admission.
        static: the same cluster, as arrays.
        nodes: the same cluster.
    """
    unit, core = static.unit // nodes.slot, static.unit // 16
    size = cluster.numa_cpu[nodes.pms] // unit
    keys = np.column_stack([size, static.pm_room[nodes.pms, 0]])
    kinds, kind = np.unique(keys, axis=0, return_inverse=True)
    points = np.full((len(kinds), nodes.grid + 1, nodes.grid + 1), NEVER)
    for i, (first, second, start) in enumerate(kinds.tolist()):
        a, b = np.arange(first + 1) * unit // core, np.arange(second + 1) * unit // core
        table = static.room[start + a[:, None] * (second * unit // core + 1) + b]
        points[i, : first + 1, : second + 1] = table
    return Hosts(
        points=points,
        kind=kind.ravel().astype(np.int64),
        size=size.astype(np.int64),
        free=nodes.free,
        free_mem=nodes.free_mem,
        movable=nodes.movable,
        movable_double=nodes.movable_double,
        cpu=nodes.cpu,
        mem=nodes.mem,
        cpu_double=nodes.cpu_double,
        mem_double=nodes.mem_double,
    )


def generate(instance: Cluster, clock: Clock, seed: int) -> Solution:
    """Plan by column generation over whole hosts.

    Args:
        instance: the cluster, with objective admission.
        clock: ends the search; one evaluation is one choice of patterns in whole numbers.
        seed: of the order of moves, and of the local search where the plan is not proven optimal.

    Returns:
        The best plan, with the relaxation's bound; "optimal" where the two meet.
    """
    try:
        nodes = make_nodes(instance)
    except GridError:
        return local_search.search(instance, clock, seed)
    if min(nodes.cpu.min(initial=1), nodes.cpu_double.min(initial=1)) == 0:
        return local_search.search(instance, clock, seed)
    static = make_static(instance)
    start = make_state(instance, static)
    rng = np.random.default_rng(seed)
    best, _ = greedy.search(instance, static, start, clock, rng, plans=FIRST_PLANS)
    bound = None
    if clock.remaining > ROUND_S * len(nodes.pms) * (nodes.grid / 22) ** 3:
        hosts = make_hosts(instance, static, nodes)
        relaxed = _relax(hosts, nodes, static, instance.mnl, clock)
        outside = (instance.pm_status[instance.vm_pm] != ACTIVE) & ~instance.vm_pinned
        provable = not outside.any()
        bound = _bound(static, start, relaxed.points) if provable else None
        near = False
        for chosen, most in _choices(hosts, nodes, relaxed, instance.mnl, clock):
            near = True
            best = _better(instance, static, start, best, _moves(nodes, chosen), clock, rng)
            bound = _bound(static, start, most) if provable else None
            if _reaches(static, start, best, bound):
                break
        if not near and instance.mode == "static" and clock.remaining > CHOICE_S:
            left = clock.remaining_budget()
            share = dataclasses.replace(left, seconds=SEARCH_SHARE * left.seconds).start()
            best, _ = local_search.improve(instance, static, start, best, share, rng)
            clock.evaluations += share.evaluations
            clock.incumbent(best)
            end = greedy.after(static, start, best)
            found = _choice_from(hosts, nodes, static, relaxed, start, end, clock)
            if found is not None:
                best = _better(instance, static, start, best, _moves(nodes, found), clock, rng)
    if instance.mode == "static" and not _reaches(static, start, best, bound):
        best, _ = local_search.improve(instance, static, start, best, clock, rng)
    proven = _reaches(static, start, best, bound)
    return finish(clock, static, start, best, "optimal" if proven else "feasible", bound)


def _reaches(static: Static, start: State, plan: np.ndarray, bound: float | None) -> bool:
    """Whether a plan's objective is the bound."""
    reached = float(value(static, greedy.after(static, start, plan).totals))
    return bound is not None and reached <= bound + SAME


def _better(
    instance: Cluster,
    static: Static,
    start: State,
    best: np.ndarray,
    moves: tuple[np.ndarray, np.ndarray],
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the better one of a plan and of what comes of moves that are only counted.

    Args:
        instance: the cluster.
        static: the same.
        start: the state before the plan.
        best: int64 plies.
        moves: int64 [M, 3] each; VMs that leave, and places that are entered; see `expand`.
        clock: records the plan if it is better.
        rng: draws the order of moves.
    """
    plan, _ = expand(static, start, *moves, rng)
    plan, reached = greedy.complete(instance, static, start, plan, rng, clock)
    if reached >= value(static, greedy.after(static, start, best).totals) - 1e-12:
        return best
    clock.incumbent(plan)
    return plan


def _choices(
    hosts: Hosts, nodes: Nodes, relaxed: Relaxed, mnl: int, clock: Clock
) -> Iterator[tuple[Columns, float]]:
    """Yield choices of patterns in whole numbers, slack by slack, until none can be better.

    Yields:
        The patterns chosen, and the points that no plan exceeds by what is known then.
    """
    most = relaxed.points
    for slack in SLACKS:
        if clock.remaining < LEAST_S:
            return
        columns = _near(hosts, nodes, relaxed, slack)
        if columns is None:
            return
        outcome = _solve(columns, hosts, mnl, SAFE * clock.remaining, whole=True)
        clock.evaluations += 1
        if outcome.x is None:
            continue  # none among so few, or no time for one
        # A better plan is a choice among these, or takes a pattern that is not near.
        most = min(most, max(-outcome.bound, relaxed.points - slack))
        yield _rows(columns, outcome.x > 0.5), most
        if not outcome.optimal or -outcome.bound >= relaxed.points - slack:
            return


def _choice_from(
    hosts: Hosts,
    nodes: Nodes,
    static: Static,
    relaxed: Relaxed,
    start: State,
    end: State,
    clock: Clock,
) -> Columns | None:
    """Choose among the patterns that the relaxation priced, from those of a plan on.

    For clusters where moves are not scarce: their price is 0 then, and patterns near the best ones
    are too many to list.

    Args:
        hosts: the cluster.
        nodes: the same.
        static: the same.
        relaxed: its relaxation.
        start: the state before the plan.
        end: the state after it.
        clock: counts the choice, and ends it.

    Returns:
        The patterns chosen; None if there was no time.
    """
    row_of = np.full(len(start.pm_moves), -1, np.int64)
    row_of[nodes.pms] = np.arange(len(nodes.pms))
    kinds = np.concatenate([nodes.single, nodes.double])
    column_of = np.zeros(kinds.max() + 1, np.int64)
    column_of[kinds] = np.arange(len(kinds))
    n_single, n_double = len(nodes.single), len(nodes.double)
    change = np.zeros((len(nodes.pms), 2, n_single + n_double), np.int64)
    vms = np.flatnonzero((end.vm_pm != start.vm_pm) | (end.vm_numa != start.vm_numa))
    for state, sign in ((end, 1), (start, -1)):
        at = row_of[state.vm_pm[vms]], state.vm_numa[vms], column_of[static.vm_flavor[vms]]
        np.add.at(change, at, sign)
    pattern = np.concatenate(
        [
            side
            for node in range(2)
            for side in (-change[:, node, :n_single], change[:, node, :n_single])
        ]
        + [-change[:, 0, n_single:], change[:, 0, n_single:]],
        axis=1,
    )
    pattern = np.maximum(pattern, 0)
    touched = np.flatnonzero(pattern.any(axis=1))
    own = _columns(nodes, touched, pattern[touched], hosts)
    pool = _joined(own, relaxed.columns)
    point = (np.arange(len(pool.host)) < len(touched)).astype(np.float64)
    outcome = _solve(
        pool, hosts, static.mnl, CHOICE_SHARE * clock.remaining, whole=True, start=point
    )
    clock.evaluations += 1
    return None if outcome.x is None else _rows(pool, outcome.x > 0.5)


def _bound(static: Static, start: State, most: float) -> float:
    """Return the objective after `most` points more, rounded down to whole ones."""
    points = int(start.totals[ROOM]) + int(np.floor(most + TOLERANCE))
    return max(0.0, float(room_lost(static, points)))


def _relax(hosts: Hosts, nodes: Nodes, static: Static, mnl: int, clock: Clock) -> Relaxed:
    """Add columns to the relaxation until none improves it.

    Args:
        hosts: the cluster.
        nodes: the same.
        static: the same.
        mnl: the most moves.
        clock: ends the rounds.

    """
    total = max(int(hosts.size.sum()), 1)
    slot = (static.room_empty - static.room_full) * nodes.slot / total
    first = first_prices(nodes)
    prices = Prices(first.single * slot, first.double * slot, first.move * slot)
    charge = np.zeros(len(hosts.kind))
    columns = _columns(nodes, np.zeros(0, np.int64), _room(hosts, 0), hosts)
    of_host, patterns = np.empty(ROOM_FOR_BEST, np.int64), _room(hosts, ROOM_FOR_BEST)
    least, kept, worth = np.inf, prices, charge
    until = clock.elapsed + RELAX_SHARE * clock.remaining
    for _ in range(MAX_ROUNDS):
        best = np.empty(len(hosts.kind))
        made = best_patterns(
            hosts, prices.single, prices.double, prices.move, charge, of_host, patterns, best
        )
        bound = prices.move * mnl + best.sum()
        if bound < least:
            least, kept, worth = bound, prices, best
        if made == 0 or clock.elapsed > until:
            break
        columns = _joined(columns, _columns(nodes, of_host[:made], patterns[:made], hosts))
        outcome = _solve(columns, hosts, mnl, clock.remaining, whole=False)
        if outcome.x is None or not outcome.optimal:
            break
        if least - columns.gain @ outcome.x < TOLERANCE:
            break
        n_hosts, n_single = len(hosts.kind), len(hosts.cpu)
        dual = outcome.row_dual
        charge = np.maximum(0.0, -dual[:n_hosts])
        per_flavor = dual[n_hosts:-1]
        prices = Prices(per_flavor[:n_single], per_flavor[n_single:], max(0.0, -dual[-1]))
    return Relaxed(kept, worth, float(least), columns)


def _room(hosts: Hosts, count: int) -> np.ndarray:
    width = 4 * len(hosts.cpu) + 2 * len(hosts.cpu_double)
    return np.zeros((count, width), np.int64)


def _columns(nodes: Nodes, host: np.ndarray, pattern: np.ndarray, hosts: Hosts) -> Columns:
    """Lay out patterns, int64 [C, 4F + 2D], of hosts int64 [C]."""
    out, into, out_2, into_2 = split_pattern(nodes, pattern)
    free = hosts.free[host]
    after = free + (out - into) @ hosts.cpu + ((out_2 - into_2) @ hosts.cpu_double)[:, None]
    points, kind = hosts.points, hosts.kind[host]
    gain = points[kind, after[:, 0], after[:, 1]] - points[kind, free[:, 0], free[:, 1]]
    return Columns(
        host=host.copy(),
        pattern=pattern.copy(),
        gain=gain,
        moves=out.sum(axis=(1, 2)) + out_2.sum(axis=1),
        balance=np.column_stack([(into - out).sum(axis=1), into_2 - out_2]),
    )


def _rows(columns: Columns, which: np.ndarray) -> Columns:
    return Columns(*(getattr(columns, one.name)[which] for one in dataclasses.fields(columns)))


def _joined(one: Columns, two: Columns) -> Columns:
    pairs = ((getattr(one, name.name), getattr(two, name.name)) for name in dataclasses.fields(one))
    return Columns(*(np.concatenate(pair) for pair in pairs))


def _near(hosts: Hosts, nodes: Nodes, relaxed: Relaxed, slack: float) -> Columns | None:
    """List the patterns worth at most `slack` less than their hosts' best; None if too many."""
    of_host, patterns = np.empty(ROOM_FOR_NEAR, np.int64), _room(hosts, ROOM_FOR_NEAR)
    prices = relaxed.prices
    made = near_patterns(
        hosts, prices.single, prices.double, prices.move, relaxed.worth, slack, of_host,
        patterns,
    )  # fmt: skip
    return None if made < 0 else _columns(nodes, of_host[:made], patterns[:made], hosts)


def _moves(nodes: Nodes, chosen: Columns) -> tuple[np.ndarray, np.ndarray]:
    """List the VMs that leave and the places that are entered, as `expand` takes them.

    Args:
        nodes: the cluster.
        chosen: patterns, at most one a host.
    """
    out, into, out_2, into_2 = split_pattern(nodes, chosen.pattern)
    pms = nodes.pms[chosen.host]
    sides = []
    for single, double in ((out, out_2), (into, into_2)):
        row, node, flavor = np.nonzero(single)
        ones = np.column_stack([nodes.single[flavor], pms[row], node])
        row_2, flavor_2 = np.nonzero(double)
        twos = np.column_stack([nodes.double[flavor_2], pms[row_2], np.zeros(len(row_2), np.int64)])
        count = np.concatenate([single[row, node, flavor], double[row_2, flavor_2]])
        sides.append(np.repeat(np.concatenate([ones, twos]), count, axis=0))
    return sides[0], sides[1]


def _solve(
    columns: Columns,
    hosts: Hosts,
    mnl: int,
    seconds: float,
    whole: bool,
    start: np.ndarray | None = None,
) -> Outcome:
    """Choose patterns, in whole numbers or not; see the module's docstring."""
    count, n_hosts = len(columns.host), len(hosts.kind)
    one_each = sp.csr_matrix((np.ones(count), (columns.host, np.arange(count))), (n_hosts, count))
    coupling = sp.csr_matrix(np.vstack([columns.balance.T, columns.moves]).astype(np.float64))
    n_flavors = columns.balance.shape[1]
    return highs.solve(
        MixedIntegerProgram(
            cost=-columns.gain,
            lower=np.zeros(count),
            upper=np.ones(count),
            matrix=sp.vstack([one_each, coupling]).tocsc(),
            row_lower=np.concatenate([np.full(n_hosts, -np.inf), np.zeros(n_flavors), [-np.inf]]),
            row_upper=np.concatenate([np.ones(n_hosts), np.zeros(n_flavors), [mnl]]),
            integer=np.full(count, whole),
        ),
        lambda: seconds,
        gap=0.99,
        presolve=whole,
        interrupt=False,
        start=start,
    )
