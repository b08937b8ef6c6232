"""No fragmentation at all: a proven bound on what has to be rejected, an oracle.

All hosts are one pool of CPU and of memory, and requests may be served in part. What then is lost
at least of the core-hours that count, with all arrivals and exits known, is a linear program: the
CPU (memory) of the served parts of the requests that are there at once is at most the pool's. No
plan loses less, with migrations or without.

A request may be turned away only where it fits nowhere. That is kept as far as it is certain: where
the hosts could not all be too full for a request if all before it were there, it is served in full.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ...core.budget import Budget
from ...core.contracts import World
from ...core.solution import Solution
from ...datasets.vm_allocation.arrivals import Trace, requests_of
from ...datasets.vm_allocation.instance import DataCenter
from ...methods import highs
from ...methods.vm_allocation.playing import packed_world, record_tables
from ...methods.vm_allocation.slots import TUNED_WEIGHTS, slot_tables
from .known import Requests, known_requests


def plan(center: DataCenter, budget: Budget, world: World) -> Solution:
    """Prove a bound; an Oracle.

    The pool's own plan cannot be carried out on hosts. The plan returned beside the bound is that
    of `slots_tuned` without migrations.

    Args:
        center: whole.
        budget: seconds; without a proof in time there is no bound.
        world: its seed decides which requests arrive.

    Returns:
        The plan, int64 [n], status "feasible", and the bound in % of the core-hours asked for.
    """
    clock = budget.start()
    trace = requests_of(center, world.seed)
    packed = packed_world(center, world.seed)
    tables = slot_tables(TUNED_WEIGHTS, int(center.numa_cpu.max()) // center.cpu_per_core)
    chances = int(center.horizon_s // (60 * center.period_min)) if center.period_moves else 0
    actions = np.zeros(len(trace.flavor) + chances, np.int64)
    n, _ = record_tables(packed, *tables, actions)
    bound = fluid_bound(center, trace, lambda: clock.remaining)
    return clock.solution(actions[:n], "feasible", bound)


def fluid_bound(center: DataCenter, trace: Trace, seconds: highs.Seconds) -> float | None:
    """Return the % of the core-hours asked for that every plan loses at least.

    Args:
        center: whole.
        trace: the world's requests.
        seconds: returns those left.

    Returns:
        None if the program was not solved in time.
    """
    requests = known_requests(center, trace)
    asked = requests.counted.sum()
    if asked == 0:
        return 0.0
    program = _program(center, requests)
    outcome = highs.solve(program, seconds)
    if not outcome.optimal or outcome.x is None:
        return None
    return max(0.0, 100.0 * float(program.cost @ outcome.x))


def first_come(center: DataCenter, trace: Trace) -> float:
    """Return what hosts that were one pool would lose without knowing the future.

    Each request is served in full if the pool has room for it when it arrives. It is no bound, for
    turning one away early may make room for better ones, but what is left to lose for those who
    place well and know nothing of what comes.

    Args:
        center: whole.
        trace: the world's requests.

    Returns:
        In % of the core-hours asked for.
    """
    r = known_requests(center, trace)
    room = np.array([center.numa_cpu.sum(), center.numa_mem.sum()])
    demand, lost = np.stack([r.cpu, r.mem], axis=1), 0
    by_exit = np.argsort(r.exit, kind="stable")
    gone = 0
    is_in = np.zeros(len(r.number), np.bool_)
    for j, arrival in enumerate(r.arrival.tolist()):
        while gone < len(by_exit) and r.exit[by_exit[gone]] < arrival:
            room += demand[by_exit[gone]] * is_in[by_exit[gone]]
            gone += 1
        is_in[j] = (demand[j] <= room).all()
        room -= demand[j] * is_in[j]
        lost += 0 if is_in[j] else int(r.counted[j])
    return 100.0 * lost / max(1, int(r.counted.sum()))


def _program(center: DataCenter, r: Requests) -> highs.MixedIntegerProgram:
    """Return the program over the lost part of each request and what is lost at each moment.

    For each resource, moment after moment: lost now = lost before + lost of those that arrived
    since - lost of those that left, and at least what the requests need beyond the pool.
    """
    # Where an exit follows an arrival, more is there than just before and after.
    events = int(r.exit.max())
    is_arrival = np.zeros(events + 1, np.bool_)
    is_arrival[r.arrival] = True
    moments = np.flatnonzero(is_arrival[:-1] & ~is_arrival[1:])
    comes, goes = np.searchsorted(moments, r.arrival), np.searchsorted(moments, r.exit)
    n, m = len(r.number), len(moments)
    each, stays = np.arange(n), goes < m
    blocks, least = [], []
    for demand, capacity in ((r.cpu, center.numa_cpu), (r.mem, center.numa_mem)):
        pool = float(max(1, capacity.sum()))
        share = demand / pool
        entries = np.concatenate([-share, share[stays]])
        where = np.concatenate([comes, goes[stays]]), np.concatenate([each, each[stays]])
        block = sp.coo_matrix((entries, where), (m, n)).tocsr()
        needed = np.cumsum(-np.asarray(block.sum(axis=1)).ravel())
        if needed.max() > 1.0:
            blocks.append(block)
            least.append(np.maximum(0.0, needed - 1.0))
    chain = sp.eye(m) - sp.eye(m, k=-1)
    chains = [[chain if i == j else None for j in range(len(blocks))] for i in range(len(blocks))]
    rows = [[block, *line] for block, line in zip(blocks, chains, strict=True)]
    matrix = sp.bmat(rows, "csc") if rows else sp.csc_matrix((0, n))
    columns = n + m * len(blocks)
    upper = np.full(columns, np.inf)
    upper[:n] = ~r.is_served
    zeros = np.zeros(matrix.shape[0])
    return highs.MixedIntegerProgram(
        cost=np.concatenate([r.counted / r.counted.sum(), np.zeros(columns - n)]),
        lower=np.concatenate([np.zeros(n), *least]),
        upper=upper,
        matrix=matrix,
        row_lower=zeros,
        row_upper=zeros,
        integer=np.zeros(columns, np.bool_),
    )
