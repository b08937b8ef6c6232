"""Methods for hosts of two NUMA nodes on all hosts: plans are legal, and proofs hold."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.lookup import resolve
from sysopt_gym.core.registry import contender_entry, contender_names
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.envs.vm_rescheduling.dynamics import copy_state, is_legal, make_state, make_static
from sysopt_gym.envs.vm_rescheduling.dynamics import move as make_move
from sysopt_gym.envs.vm_rescheduling.objective import value
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.methods.vm_rescheduling.two_nodes import simplified, translated
from wide_clusters import make_wide_cluster

SEEDS = st.integers(0, 10**6)
NODES = st.sampled_from([(2,), (4,), (1, 2, 4), (8,)])


def one_node_each(seed: int, nodes: tuple[int, ...], **changes: object) -> Cluster:
    """A wide cluster without its VMs of several parts."""
    cluster = make_wide_cluster(seed, nodes)
    kept = np.flatnonzero(cluster.flavor_nodes[cluster.vm_flavor] == 1)
    kept = kept if kept.size else np.zeros(1, np.int64)
    where = np.full(cluster.n_vms, -1)
    where[kept] = np.arange(len(kept))
    sets = np.split(where[cluster.set_vms], cluster.set_start[1:-1])
    sets = [members[members >= 0] for members in sets][: len(cluster.set_by_rack)]
    return make_wide_cluster(
        seed,
        nodes,
        vm_ids=tuple(cluster.vm_ids[vm] for vm in kept),
        vm_flavor=cluster.vm_flavor[kept],
        vm_pm=cluster.vm_pm[kept],
        vm_numa=cluster.vm_numa[kept],
        vm_pinned=cluster.vm_pinned[kept],
        set_start=np.concatenate([[0], np.cumsum([len(members) for members in sets])]).astype(int),
        set_vms=np.concatenate([np.zeros(0, np.int64), *sets]).astype(np.int64),
        **changes,
    )


def best_of_all(cluster: Cluster) -> float:
    """The least objective of any plan of at most two moves."""
    static = make_static(cluster)
    best = []

    def explore(state: object, left: int) -> None:
        best.append(float(value(static, state.totals)))  # type: ignore[attr-defined]
        for vm, pm, place in product(
            range(cluster.n_vms if left else 0), range(cluster.n_pms), range(cluster.stride)
        ):
            if is_legal(static, state, vm, pm, place):
                after = copy_state(state)  # type: ignore[arg-type]
                make_move(static, after, vm, pm, place)
                explore(after, left - 1)

    explore(make_state(cluster, static), cluster.mnl)
    return min(best)


@given(SEEDS, NODES, st.sampled_from(["fragment_rate", "mixed", "drain", "admission"]))
@settings(max_examples=25, deadline=None)
def test_any_plan_for_the_simpler_cluster_is_one_for_the_cluster(
    seed: int, nodes: tuple[int, ...], objective: str
) -> None:
    cluster = make_wide_cluster(
        seed, nodes, mnl=4, objective=objective, drain_pms=np.zeros(1, np.int64)
    )
    simpler = simplified(cluster)
    rng = np.random.default_rng(seed)
    static = make_static(simpler.cluster)
    state = make_state(simpler.cluster, static)
    plies = []
    for _ in range(300):
        vm, host = int(rng.integers(simpler.cluster.n_vms)), int(rng.integers(len(simpler.pm)))
        node = int(rng.integers(2))
        if is_legal(static, state, vm, host, node):
            make_move(static, state, vm, host, node)
            plies += [vm, 2 * host + node]
    plan = translated(cluster, simpler, np.array(plies, np.int64))
    verdict = validate(cluster, plan, World(0, 0.0))
    assert verdict.feasible
    if simpler.exact:
        assert len(plan) == len(plies)
        assert verdict.objective == pytest.approx(float(value(static, state.totals)))


@pytest.mark.parametrize("name", ["milp", "columns", "cpsat"])
def test_proofs_hold_for_hosts_of_more_nodes(name: str) -> None:
    solve = resolve(contender_entry("vm_rescheduling", name).place)
    proven = 0
    for seed in range(4):
        cluster = one_node_each(seed, ((4,), (1, 2, 4))[seed % 2], mnl=2)
        assert simplified(cluster).exact or not cluster.set_by_rack.all()
        found = solve(cluster, Budget(1.0, 8), 0)
        reached = validate(cluster, np.asarray(found.actions), World(0, 0.0)).objective
        best = best_of_all(cluster)
        assert reached >= best - 1e-9
        if found.bound is not None:
            assert found.bound <= best + 1e-9
        if found.status == "optimal":
            proven += 1
            assert reached == pytest.approx(best)
    assert proven >= 2


@pytest.mark.parametrize("name", contender_names("vm_rescheduling"))
def test_every_contender_plays_on_hosts_of_any_nodes(name: str) -> None:
    solve = resolve(contender_entry("vm_rescheduling", name).place)
    gained = 0.0
    for seed, nodes in ((1, (4,)), (2, (1, 2, 4)), (5, (2,))):
        cluster = make_wide_cluster(seed, nodes, mnl=4)
        found = solve(cluster, Budget(0.5, 5), 0)
        verdict = validate(cluster, np.asarray(found.actions), World(0, 0.0))
        assert verdict.feasible, verdict.violations
        nothing = validate(cluster, np.zeros(0, np.int64), World(0, 0.0)).objective
        assert verdict.objective <= nothing + 1e-12
        for one in found.incumbents:
            assert validate(cluster, np.asarray(one.actions), World(0, 0.0)).feasible
        gained += nothing - verdict.objective
    assert gained > 0


def test_vms_in_parts_are_moved_too() -> None:
    """The two parts lie on nodes 0 and 2, as no host of two nodes could hold them."""
    cluster = Cluster(
        **{
            **{f: getattr(make_wide_cluster(1, (4,)), f) for f in (
                "cpu_per_core", "mnl", "pm_move_cap", "objective", "goal_rate", "drain_pms",
                "weights", "mode", "churn_per_min",
            )},
            "name": "split", "pm_ids": ("a", "b"), "pm_status": np.zeros(2, np.int8),
            "pm_rack": np.zeros(2, np.int64), "numa_cpu": np.full((2, 4), 16),
            "numa_mem": np.full((2, 4), 1000), "flavor_names": ("two", "one"),
            "flavor_cpu": np.array([8, 8]), "flavor_mem": np.array([1, 1]),
            "flavor_nodes": np.array([2, 1]), "vm_ids": ("v", "w", "x"),
            "vm_flavor": np.array([0, 1, 1]), "vm_pm": np.array([0, 1, 1]),
            "vm_numa": np.array([1, 1, 3]), "vm_pinned": np.array([False, True, True]),
            "set_start": np.zeros(1, np.int64), "set_vms": np.zeros(0, np.int64),
            "set_by_rack": np.zeros(0, np.bool_),
        }
    )  # fmt: skip
    found = resolve(contender_entry("vm_rescheduling", "greedy").place)(cluster, Budget(5.0), 0)
    assert validate(cluster, np.asarray(found.actions), World(0, 0.0)).objective == 0.0
