"""Clusters of thousands of hosts: proofs from the prices alone, plans cut short by the clock."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget, Clock
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling.dynamics import make_state, make_static
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.methods.vm_rescheduling import greedy
from sysopt_gym.methods.vm_rescheduling.columns import LARGE_PMS, generate_columns
from sysopt_gym.methods.vm_rescheduling.dual import lowest
from sysopt_gym.methods.vm_rescheduling.gains import make_table, residual_energy
from sysopt_gym.methods.vm_rescheduling.pricing import first_prices, make_nodes, slot_bound


class Ticks(Clock):
    """A clock that stands at one second left for some looks, and then at none."""

    def __init__(self, looks: int) -> None:
        super().__init__(Budget(1e6))
        self.looks = looks

    @property
    def remaining(self) -> float:
        self.looks -= 1
        return float(self.looks >= 0)


def large(mnl: int) -> Cluster:
    return dataclasses.replace(generate({"pms": str(LARGE_PMS)}, 3), mnl=mnl)


def test_cutting_planes_find_prices_whose_bound_is_met() -> None:
    cluster = SETS.load("lookalike:test/0")[0]
    nodes = make_nodes(cluster)
    rough = first_prices(nodes)
    clock = Budget(1e6).start()
    bound = slot_bound(nodes, cluster.mnl, lowest(nodes, cluster.mnl, rough, clock, math.inf))
    assert bound < slot_bound(nodes, cluster.mnl, rough) / 2
    proven = generate_columns(cluster, Budget(60.0).start(), 0)
    assert proven.status == "optimal"
    free = cluster.free()[0]
    start = (free % 16).sum() / free.sum()
    reached = validate(cluster, proven.actions, World()).objective
    opened = (start - reached) * free.sum() / 16
    assert opened <= bound + 1e-9
    assert bound < opened + 1.0  # the relaxation's own bound, rounded down, is the optimum


def test_a_plan_of_few_moves_in_a_large_cluster_is_proven_optimal_by_the_prices_alone() -> None:
    cluster = large(mnl=20)
    found = generate_columns(cluster, Budget(600.0).start(), 0)
    verdict = validate(cluster, found.actions, World())
    assert found.status == "optimal"
    assert verdict.objective == pytest.approx(found.bound, abs=1e-9)


@pytest.mark.parametrize("looks", [0, 1, 7])
def test_a_greedy_plan_ends_where_the_clock_does(
    looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greedy, "CELLS_A_LOOK", 1)  # a look a move
    cluster = SETS.load("lookalike:test/0")[0]
    static = make_static(cluster)
    state = make_state(cluster, static)
    table = make_table(cluster, static, state, residual_energy(static))
    plies = np.zeros(2 * cluster.mnl, np.int64)
    rng = np.random.default_rng(0)
    made, reached = greedy.greedy_plan(static, state, table, rng, False, plies, Ticks(looks))
    assert made == looks
    verdict = validate(cluster, plies[: 2 * made], World())
    assert verdict.feasible
    assert verdict.objective == pytest.approx(reached, abs=1e-12)
