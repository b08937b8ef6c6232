"""The relaxation: its bound holds for every plan, whatever the prices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling.dynamics import (
    FRAGMENT,
    State,
    Static,
    make_state,
    make_static,
    move,
)
from sysopt_gym.methods.vm_rescheduling.pricing import (
    GridError,
    Nodes,
    Prices,
    first_prices,
    make_nodes,
    slope,
    slot_bound,
)

LegalMoves = Callable[[Static, State], list[tuple[int, int, int]]]


def some_prices(nodes: Nodes, rng: np.random.Generator) -> Prices:
    first = first_prices(nodes)
    scale = rng.uniform(0, 3)
    return Prices(
        first.single * scale + rng.normal(0, 0.2, len(first.single)),
        first.double * scale + rng.normal(0, 0.2, len(first.double)),
        float(rng.uniform(0, 1)),
    )


def flat(prices: Prices) -> np.ndarray:
    return np.concatenate([prices.single, prices.double, [prices.move]])


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_plan_opens_more_slots_than_the_bound(
    seed: int, tiny_cluster: Callable[..., Cluster], legal_moves: LegalMoves
) -> None:
    cluster = tiny_cluster(seed, mnl=4)
    everywhere = np.zeros_like(cluster.pm_status)  # the relaxation counts ACTIVE hosts
    cluster = dataclasses.replace(cluster, pm_status=everywhere)
    rng = np.random.default_rng(seed)
    nodes = make_nodes(cluster)
    bound = slot_bound(nodes, cluster.mnl, some_prices(nodes, rng))
    static = make_static(cluster)
    for _walk in range(5):
        state = make_state(cluster, static)
        before = int(state.totals[FRAGMENT])
        for _step in range(cluster.mnl):
            moves = legal_moves(static, state)
            if not moves:
                break
            move(static, state, *moves[rng.integers(len(moves))])
            opened = (before - int(state.totals[FRAGMENT])) / static.unit
            assert opened <= bound + 1e-6


@given(st.integers(0, 1000))
@example(373)  # two-node VMs enter where one-node VMs leave first
@settings(max_examples=150, deadline=None)
def test_the_bound_is_convex_and_its_slope_supports_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes = make_nodes(SETS.load("small:val")[seed % 16])
    here, there = some_prices(nodes, rng), some_prices(nodes, rng)
    bound, uphill = slope(nodes, 8, here)
    other, _ = slope(nodes, 8, there)
    assert other >= bound + uphill @ (flat(there) - flat(here)) - 1e-6
    assert bound <= slot_bound(nodes, 8, here) + 1e-6


def test_millicores_without_a_coarse_unit_are_refused_with_the_remedy() -> None:
    cluster = SETS.load("small:val")[0]
    odd = dataclasses.replace(
        cluster,
        cpu_per_core=1000,
        numa_cpu=cluster.numa_cpu * 1000 + 1,
        flavor_cpu=cluster.flavor_cpu * 1000,
    )
    with pytest.raises(GridError, match="local_search"):
        make_nodes(odd)
