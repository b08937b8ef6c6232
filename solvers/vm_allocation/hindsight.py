"""The best placement of a small world in hindsight, by mixed-integer programming: an oracle.

Each request is on one place from its arrival to its exit, or rejected. As in the environment, it
may be rejected only where it fits nowhere at that moment: on each node there is too little CPU or
memory left, or on the host is a VM of its deployment set. Migrations are not planned, so where the
data center allows them the plan may be beaten and nothing is proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from ...core.budget import Budget
from ...core.contracts import World
from ...core.errors import SettingError
from ...core.solution import Solution, Status
from ...datasets.vm_allocation.arrivals import Trace, requests_of
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.dynamics import (
    CHOOSE,
    ILLEGAL,
    OVER,
    PHASE,
    REQUEST,
    act,
    make_state,
    make_static,
    walk,
    write_places,
)
from ...methods import highs
from .known import Requests, known_requests, memory_never_binds

MOST_CHOICES = 4_000  # requests times places
SAFE = 0.9  # share of the seconds that HiGHS gets, as it reads its clock only now and then
REJECTED = -1


def plan(center: DataCenter, budget: Budget, world: World) -> Solution:
    """Plan with all arrivals and exits known; an Oracle.

    Args:
        center: whole, and small.
        budget: seconds.
        world: its seed decides which requests arrive.

    Returns:
        The plan, int64 [n]; "optimal" with its bound if proven. Without a plan in time, first fit.

    Raises:
        SettingError: the world has too many requests and hosts.
    """
    clock = budget.start()
    trace = requests_of(center, world.seed)
    r = known_requests(center, trace)
    choices = 2 * center.n_pms * len(r.number)
    if choices > MOST_CHOICES:
        raise SettingError(
            f"{center.name}: hindsight plans worlds of up to {MOST_CHOICES} requests times places, "
            f"and this one has {len(r.number)} x {2 * center.n_pms} = {choices}; set horizon_h "
            "lower, take fewer hosts, or ask the oracle fluid for a bound"
        )
    model = _model(center, trace, r)
    outcome = highs.solve(model.program(), lambda: SAFE * clock.remaining, gap=1e-9)
    places = np.full(len(trace.flavor), REJECTED)
    if outcome.x is not None:
        chosen = np.flatnonzero(outcome.x[: len(model.request)] > 0.5)
        places[r.number[np.array(model.request)[chosen]]] = np.array(model.place)[chosen]
    actions = _carried_out(center, trace, places)
    if center.period_moves or not np.isfinite(outcome.bound):
        return clock.solution(actions)
    proven = outcome.optimal and outcome.x is not None
    status: Status = "optimal" if proven else "feasible"
    return clock.solution(actions, status, max(0.0, 100.0 * outcome.bound))


def _carried_out(center: DataCenter, trace: Trace, places: np.ndarray) -> np.ndarray:
    """Return the actions that put requests on their places; on the first one where none is given.

    Args:
        center: whole.
        trace: the world's requests.
        places: 2 * PM + node, or REJECTED, int64 [R].
    """
    static, state = make_static(center, trace), make_state(center, len(trace.flavor))
    mask = np.zeros(2 * center.n_pms, np.int8)
    walk(static, state)
    actions: list[int] = []
    while state.numbers[PHASE] != OVER:
        action = len(state.slots)
        if state.numbers[PHASE] != CHOOSE:
            request = int(state.numbers[REQUEST])
            action = int(places[request])
            if action == REJECTED:
                write_places(static, state, request, mask)
                action = int(mask.argmax())
        if act(static, state, action) == ILLEGAL:
            raise AssertionError(f"{center.name}: the model places a request where it has no room")
        actions.append(action)
    return np.array(actions or [0], np.int64)


@dataclass
class _Model:
    """A mixed-integer program that grows by columns and rows.

    Attributes:
        request, place: of the columns that say where requests go, the first ones.
        cost: of each column.
        entries: (row, column, coefficient).
        limits: least and most of each row.
    """

    request: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    limits: list[tuple[float, float]] = field(default_factory=list)

    def column(self, cost: float = 0.0) -> int:
        """Add a binary column and return its number."""
        self.cost.append(cost)
        return len(self.cost) - 1

    def row(self, low: float, high: float, terms: Sequence[tuple[int, float]]) -> None:
        """Add low <= sum of coefficient times column <= high."""
        self.entries += [(len(self.limits), column, value) for column, value in terms]
        self.limits.append((low, high))

    def program(self) -> highs.MixedIntegerProgram:
        """Return the program."""
        rows, columns, values = zip(*self.entries, strict=True)
        low, high = np.array(self.limits).T
        n = len(self.cost)
        matrix = sp.csc_matrix((values, (rows, columns)), (len(low), n))
        return highs.MixedIntegerProgram(
            np.array(self.cost), np.zeros(n), np.ones(n), matrix, low, high, np.ones(n, np.bool_)
        )


def _model(center: DataCenter, trace: Trace, r: Requests) -> _Model:
    """Write the program: columns for places, then for rejections, then for nodes without room."""
    model, n = _Model(), len(r.number)
    at: list[dict[int, int]] = [{} for _ in range(n)]  # of each request: place -> column
    for j in range(n):
        for place in _open_places(center, trace, r, j):
            at[j][place] = model.column()
            model.request.append(j)
            model.place.append(place)
    total = max(1.0, float(r.counted.sum()))
    is_rejected = [model.column(float(counted) / total) for counted in r.counted]
    for j in range(n):
        model.row(1.0, 1.0, [(column, 1.0) for column in at[j].values()] + [(is_rejected[j], 1.0)])
        if r.is_served[j] or trace.place[r.number[j]] >= 0:
            model.row(0.0, 0.0, [(is_rejected[j], 1.0)])
        there = np.flatnonzero((r.arrival[:j] < r.arrival[j]) & (r.exit[:j] > r.arrival[j]))
        _keep_rules(center, trace, r, model, at, j, there.tolist(), is_rejected[j])
    return model


def _open_places(center: DataCenter, trace: Trace, r: Requests, j: int) -> list[int]:
    """Return the places that a request may ever have.

    Where all hosts are alike and empty at the start, the j-th request needs none but the first
    j + 1 of them: others are the same under other names.
    """
    given = int(trace.place[r.number[j]])
    if given >= 0:
        return [given]
    k, pms = r.flavor[j], center.n_pms
    alike = (center.numa_cpu == center.numa_cpu[0]).all() and (
        center.numa_mem == center.numa_mem[0]
    ).all()
    if alike and (trace.place < 0).all():
        pms = min(pms, j + 1)
    fits = (
        (center.numa_cpu > 0)
        & (center.numa_cpu >= center.flavor_cpu[k])
        & (center.numa_mem >= center.flavor_mem[k])
    )[:pms]
    if center.flavor_nodes[k] == 2:
        return [2 * pm for pm in np.flatnonzero(fits.all(axis=1)).tolist()]
    return [2 * pm + node for pm, node in np.argwhere(fits).tolist()]


def _keep_rules(
    center: DataCenter,
    trace: Trace,
    r: Requests,
    model: _Model,
    at: list[dict[int, int]],
    j: int,
    there: list[int],
    rejection: int,
) -> None:
    """Add rows for the moment of a request's arrival: room, sets, and why it may be rejected.

    Args:
        center: whole.
        trace: the world's requests.
        r: those that arrive before the horizon.
        model: gets the rows.
        at: of each request, the column of each place.
        j: the request.
        there: requests that are there then, unless rejected.
        rejection: column of the request's rejection.
    """
    k, group = int(r.flavor[j]), int(trace.group[r.number[j]])
    resources = [(center.flavor_cpu, center.numa_cpu)]
    if not memory_never_binds(center):
        resources.append((center.flavor_mem, center.numa_mem))
    mates = [i for i in there if group >= 0 and trace.group[r.number[i]] == group]
    for pm in range(center.n_pms):
        of_set = [
            (at[i][2 * pm + node], 1.0) for i in mates for node in (0, 1) if 2 * pm + node in at[i]
        ]
        own = [at[j][2 * pm + node] for node in (0, 1) if 2 * pm + node in at[j]]
        if of_set and own:
            model.row(-np.inf, 1.0, of_set + [(column, 1.0) for column in own])
        full: list[list[tuple[int, float]]] = []
        for node in (0, 1):
            if center.numa_cpu[pm, node] == 0:
                continue
            is_full, never = [], False
            for needs, has in resources:
                used = [
                    (column, float(needs[r.flavor[i]]))
                    for i in there
                    for column in _on_node(center, r, at, i, pm, node)
                ]
                mine = [(c, float(needs[k])) for c in _on_node(center, r, at, j, pm, node)]
                if mine and used:
                    model.row(-np.inf, float(has[pm, node]), used + mine)
                room = int(has[pm, node] - needs[k])
                never |= room < 0
                if room >= 0 and used:
                    column = model.column()
                    model.row(0.0, np.inf, [*used, (column, -float(room + 1))])
                    is_full.append((column, 1.0))
            if not never:
                full.append(is_full)
        if center.flavor_nodes[k] == 2:
            is_whole = center.numa_cpu[pm, 1] > 0 and len(full) == 2
            full = [full[0] + full[1]] if is_whole else []
        for is_full in full:
            model.row(0.0, np.inf, [*is_full, *of_set, (rejection, -1.0)])


def _on_node(
    center: DataCenter, r: Requests, at: list[dict[int, int]], i: int, pm: int, node: int
) -> list[int]:
    """Return the columns of request i that use a node."""
    place = 2 * pm if center.flavor_nodes[r.flavor[i]] == 2 else 2 * pm + node
    return [at[i][place]] if place in at[i] else []
