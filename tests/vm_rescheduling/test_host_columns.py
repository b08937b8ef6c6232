"""Column generation over whole hosts: its bound, its patterns and its proofs."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_rescheduling.instance import ACTIVE, Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.methods.vm_rescheduling.columns import generate_columns
from sysopt_gym.methods.vm_rescheduling.host_columns import make_hosts
from sysopt_gym.methods.vm_rescheduling.host_patterns import Hosts, best_patterns, near_patterns
from sysopt_gym.methods.vm_rescheduling.local_search import search
from sysopt_gym.methods.vm_rescheduling.pricing import make_nodes
from tiny_clusters import make_cluster

pytestmark = pytest.mark.long  # patterns of whole hosts take a minute or two to compile
SEEDS = st.integers(0, 10**6)


def opened(seed: int) -> tuple[Cluster, d.Static, d.State, Hosts]:
    cluster = make_cluster(seed, objective="admission", mnl=5)
    cluster = dataclasses.replace(cluster, pm_status=np.full(cluster.n_pms, ACTIVE, np.int8))
    static = d.make_static(cluster)
    hosts = make_hosts(cluster, static, make_nodes(cluster))
    return cluster, static, d.make_state(cluster, static), hosts


def worth_of_the_best(hosts: Hosts, prices: np.ndarray, mu: float) -> np.ndarray:
    single, double = np.split(prices, [len(hosts.cpu)])
    best, charge = np.empty(len(hosts.kind)), np.full(len(hosts.kind), 1e9)
    nothing = np.empty(1, np.int64), np.zeros((1, 4 * len(single) + 2 * len(double)), np.int64)
    best_patterns(hosts, single, double, mu, charge, *nothing, best)
    return best


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_no_plan_wins_more_points_than_any_prices_allow(seed: int) -> None:
    cluster, static, state, hosts = opened(seed)
    rng = np.random.default_rng(seed)
    prices = rng.uniform(-30, 200, len(hosts.cpu) + len(hosts.cpu_double))
    mu = float(rng.uniform(0, 60))
    bound = mu * cluster.mnl + worth_of_the_best(hosts, prices, mu).sum()
    before = state.totals[d.ROOM]
    for vm, dest in rng.integers(0, [cluster.n_vms, 2 * cluster.n_pms], (200, 2)):
        if d.is_legal(static, state, vm, *divmod(dest, 2)):
            d.move(static, state, vm, *divmod(dest, 2))
            assert state.totals[d.ROOM] - before <= bound + 1e-9


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_near_patterns_are_all_that_a_host_has_within_the_slack(seed: int) -> None:
    _, _, _, hosts = opened(seed)
    rng = np.random.default_rng(seed)
    n_single, n_double = len(hosts.cpu), len(hosts.cpu_double)
    # One host with few VMs, where every pattern can be tried.
    movable, double = np.minimum(hosts.movable[:1], 1), np.minimum(hosts.movable_double[:1], 1)
    hosts = hosts._replace(
        kind=hosts.kind[:1], size=hosts.size[:1], free=np.minimum(hosts.free[:1], 4),
        free_mem=hosts.free_mem[:1], movable=movable, movable_double=double,
    )  # fmt: skip
    prices = rng.uniform(0, 150, n_single + n_double)
    mu, slack = 20.0, 60.0
    best = worth_of_the_best(hosts, prices, mu)
    of_host = np.empty(50_000, np.int64)
    patterns = np.empty((50_000, 4 * n_single + 2 * n_double), np.int64)
    made = near_patterns(
        hosts, prices[:n_single], prices[n_single:], mu, best, slack, of_host, patterns
    )
    found = {tuple(row) for row in patterns[:made].tolist()}
    assert len(found) == made >= 0

    def sides(may_leave: np.ndarray, units: np.ndarray, room: int) -> list[tuple[int, ...]]:
        most = [room // max(int(cpu), 1) for cpu in units]
        into = [
            some
            for some in itertools.product(*(range(min(one, 2) + 1) for one in most))
            if np.dot(some, units) <= room
        ]
        out = itertools.product(*(range(int(one) + 1) for one in may_leave))
        return [
            (*some, *other)
            for some, other in itertools.product(out, into)
            if not any(a and b for a, b in zip(some, other, strict=True))
        ]

    points = hosts.points[hosts.kind[0]]
    (f0, f1), (s0, s1) = hosts.free[0], hosts.size[0]
    first, second = (sides(movable[0, n], hosts.cpu, 6) for n in range(2))
    both = sides(double[0], hosts.cpu_double, 4) if s1 > 0 else [(0,) * (2 * n_double)]

    def paid(row: tuple[int, ...], price: np.ndarray) -> float:
        out, into = np.split(np.array(row), 2)
        return float(into @ price - out @ (price + mu))

    def freed(row: tuple[int, ...], units: np.ndarray) -> int:
        out, into = np.split(np.array(row), 2)
        return int((out - into) @ units)

    rated = [[(row, freed(row, hosts.cpu), paid(row, prices[:n_single])) for row in side]
             for side in (first, second)]  # fmt: skip
    for pair in both:
        z, extra = freed(pair, hosts.cpu_double), paid(pair, prices[n_single:])
        for (one, t, p), (other, u, q) in itertools.product(*rated):
            a, b = f0 + z + t, f1 + z + u
            if not (0 <= a <= s0 and 0 <= b <= s1):
                continue
            worth = points[a, b] - points[f0, f1] + p + q + extra
            assert worth <= best[0] + 1e-6
            if worth >= best[0] - slack + 1e-6 and _fits(hosts, one, other, pair):
                assert (*one, *other, *pair) in found


def _fits(
    hosts: Hosts, one: tuple[int, ...], other: tuple[int, ...], pair: tuple[int, ...]
) -> bool:
    out_2, into_2 = np.split(np.array(pair), 2)
    spare = hosts.free_mem[0] + (out_2 - into_2) @ hosts.mem_double
    for n, row in enumerate((one, other)):
        out, into = np.split(np.array(row), 2)
        spare[n] += (out - into) @ hosts.mem
    return bool((spare >= 0).all())


@pytest.mark.parametrize("name", ["small:test/1", "constrained-small:test/1"])
def test_admission_is_proven_optimal_where_local_search_proves_nothing(name: str) -> None:
    cluster = dataclasses.replace(SETS.load(name)[0], objective="admission")
    proven = generate_columns(cluster, Budget(120.0).start(), 0)
    assert proven.status == "optimal"
    reached = validate(cluster, proven.actions, World()).objective
    assert reached == pytest.approx(proven.bound, abs=1e-9)
    searched = search(cluster, Budget(5.0, 30).start(), 0)
    assert validate(cluster, searched.actions, World()).objective >= reached - 1e-9
