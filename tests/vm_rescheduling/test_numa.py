"""Hosts of any number of NUMA nodes and VMs of several parts: the environment plays what the
validator, which shares no code with it, says is so.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.vm_rescheduling.churn import churned
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.places import places_of
from sysopt_gym.envs.vm_rescheduling.dynamics import is_legal, make_state, make_static
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from sysopt_gym.envs.vm_rescheduling.observation import pm_features, vm_features
from sysopt_gym.envs.vm_rescheduling.plan import export_plan
from sysopt_gym.envs.vm_rescheduling.validate import validate
from wide_clusters import make_wide_cluster

SEEDS = st.integers(0, 10**6)
NODES = st.sampled_from([(1,), (1, 2), (2,), (4,), (1, 2, 4), (8,), (3,)])
OBJECTIVES = st.sampled_from(["fragment_rate", "mixed", "moves_to_goal", "admission"])


def played(cluster: Cluster, seed: int, elapsed_s: float | None = None) -> tuple[list[int], float]:
    """A random episode: its plies, and the objective at its end."""
    env = VMReschedulingEnv(cluster, allow_stop=True)
    options = {"instance": cluster} | ({} if elapsed_s is None else {"elapsed_s": elapsed_s})
    observation, info = env.reset(seed=seed, options=options)
    rng, plies = np.random.default_rng(seed), []
    while True:
        ply = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        stops = not observation["phase"][0] and ply == cluster.n_vms
        plies += [ply] * (not stops)
        observation, _, ended, _, info = env.step(ply)
        if ended:
            return plies, float(info["objective"])


@given(SEEDS, NODES, OBJECTIVES, st.sampled_from([0, 2]))
@settings(max_examples=40, deadline=None)
def test_environment_and_validator_agree(
    seed: int, nodes: tuple[int, ...], objective: str, cap: int
) -> None:
    cluster = make_wide_cluster(seed, nodes, mnl=5, objective=objective, pm_move_cap=cap)
    plies, reached = played(cluster, seed)
    verdict = validate(cluster, np.array(plies, np.int64), World(seed, 0.0))
    assert verdict.feasible, verdict.violations
    assert verdict.objective == pytest.approx(reached, abs=1e-12)


@given(SEEDS, st.sampled_from([(1, 2), (2,), (4,), (1, 2, 4), (3,)]))
@settings(max_examples=12, deadline=None)
def test_a_destination_is_masked_in_where_the_validator_finds_nothing_broken(
    seed: int, nodes: tuple[int, ...]
) -> None:
    cluster = make_wide_cluster(seed, nodes, mnl=1)
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(seed=0)
    static = make_static(cluster)
    state = make_state(cluster, static)
    for vm in range(cluster.n_vms):
        mask = env.destination_mask(vm)
        for dest in range(cluster.stride * cluster.n_pms):
            plan = np.array([vm, dest], np.int64)
            feasible = validate(cluster, plan, World(0, 0.0)).feasible
            assert feasible == bool(mask[dest])
            assert feasible == is_legal(static, state, vm, *divmod(dest, cluster.stride))
        assert observation["action_mask"][vm] == mask.any()


@given(SEEDS, NODES, st.floats(0, 60))
@settings(max_examples=25, deadline=None)
def test_both_see_the_same_world_after_churn(
    seed: int, nodes: tuple[int, ...], elapsed_s: float
) -> None:
    cluster = make_wide_cluster(seed, nodes, mnl=4, mode="live")
    plies, reached = played(cluster, seed, elapsed_s)
    verdict = validate(cluster, np.array(plies, np.int64), World(seed, elapsed_s))
    assert verdict.feasible
    assert verdict.objective == pytest.approx(reached, abs=1e-12)
    assert churned(cluster, seed, elapsed_s)[0].free()[0].min() >= 0


@given(SEEDS, NODES)
@settings(max_examples=15, deadline=None)
def test_rows_say_what_each_node_has(seed: int, nodes: tuple[int, ...]) -> None:
    cluster = make_wide_cluster(seed, nodes, mnl=5)
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(6):
        legal = np.flatnonzero(observation["action_mask"])
        if not legal.size:
            break
        observation, _, ended, *_ = env.step(int(rng.choice(legal)))
        if ended:
            break
    assert env.observation_space.contains(observation)
    state, width = env.state, cluster.n_nodes
    pms = dict(zip(pm_features(width), observation["pms"].T, strict=True))
    vms = dict(zip(vm_features(width), observation["vms"].T, strict=True))
    scale = cluster.numa_cpu.sum(axis=1).max()
    cpu = cluster.places().cpu[cluster.vm_flavor, state.vm_numa]
    for node in range(width):
        assert np.allclose(pms[f"free_cpu_{node}"] * scale, state.free_cpu[:, node], atol=1e-4)
        assert np.allclose(vms[f"cpu_{node}"] * scale, cpu[:, node], atol=1e-4)
    assert np.allclose(pms["two_nodes"] * (width - 1) + 1, cluster.pm_nodes)


@given(SEEDS, NODES)
@settings(max_examples=15, deadline=None)
def test_an_exported_plan_names_the_nodes_of_each_part(seed: int, nodes: tuple[int, ...]) -> None:
    cluster = make_wide_cluster(seed, nodes, mnl=5)
    plies, _ = played(cluster, seed)
    at = dict(enumerate(zip(cluster.vm_pm, cluster.vm_numa, strict=True)))
    for row, (vm, dest) in zip(
        export_plan(cluster, np.array(plies, np.int64)),
        zip(plies[::2], plies[1::2], strict=False),
        strict=False,
    ):
        parts = cluster.parts_of(int(cluster.vm_flavor[vm]))
        ways = places_of(parts, cluster.n_nodes)
        assert row["cores"] == sum(cpu for cpu, _ in parts)
        for end, (pm, place) in (("from", at[vm]), ("to", divmod(dest, cluster.stride))):
            assert row[f"{end}_pm"] == cluster.pm_ids[pm]
            assert row[f"{end}_numa"] == "+".join(map(str, ways[place]))
        at[vm] = divmod(dest, cluster.stride)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(4, 6))
def test_places_are_the_different_ways_to_lay_parts_on_nodes(sizes: list[int], nodes: int) -> None:
    parts = tuple((size, 1) for size in sizes)
    different = {
        tuple(sorted(zip(sizes, chosen, strict=True)))
        for chosen in permutations(range(nodes), len(parts))
    }
    found = places_of(parts, nodes)
    assert found == sorted(found)
    assert {tuple(sorted(zip(sizes, way, strict=True))) for way in found} == different
    assert len(found) == len(different)


def test_a_vm_with_too_many_places_is_refused() -> None:
    with pytest.raises(InstanceError, match=r"8 parts \(8 different ones\) has more than 2000"):
        places_of(tuple((size, 1) for size in range(8)), 8)
    assert len(places_of(((1, 1),) * 8, 8)) == 1


@given(SEEDS, NODES)
@settings(max_examples=10, deadline=None)
def test_such_a_cluster_survives_its_file(seed: int, nodes: tuple[int, ...]) -> None:
    cluster = make_wide_cluster(seed, nodes)
    again = Cluster.from_bytes(cluster.to_bytes(), "file")
    assert again.content_hash == cluster.content_hash
    assert np.array_equal(again.free()[0], cluster.free()[0])


def test_an_environment_for_two_nodes_does_not_take_hosts_of_four() -> None:
    env = VMReschedulingEnv(make_wide_cluster(1, (2,)), max_pms=9, max_vms=99)
    with pytest.raises(InstanceError, match="give it this cluster when it is made"):
        env.reset(options={"instance": make_wide_cluster(1, (4,))})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vm_numa": np.array([99])}, r"vm_numa\[0\] is 99; a VM of its flavor has the places"),
        (dict.fromkeys(("part_cpu", "part_mem"), np.zeros((8, 1), np.int64)), "a column for each"),
        ({"flavor_cpu": np.full(8, 3)}, "must be the largest part of each flavor"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, np.ndarray], message: str) -> None:
    cluster = make_wide_cluster(3, (4,))
    if "vm_numa" in changes:
        changes = {"vm_numa": np.where(np.arange(cluster.n_vms) == 0, 99, cluster.vm_numa)}
    with pytest.raises(InstanceError, match=message):
        make_wide_cluster(3, (4,), **changes)
