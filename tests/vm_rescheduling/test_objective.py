"""The five objectives against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.hosts import host_potential
from sysopt_gym.datasets.vm_rescheduling.instance import ACTIVE, OBJECTIVES, Cluster
from sysopt_gym.datasets.vm_rescheduling.settings import with_settings
from sysopt_gym.envs.host_potential import potentials
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.objective import (
    OBJECTIVE_OF,
    fragment_rate,
    goal_reached,
    objective_of,
    reward_scale,
    value,
)
from sysopt_gym.envs.vm_rescheduling.reference import room_of
from sysopt_gym.envs.vm_rescheduling.rooms import points_by_cores

SEEDS = st.integers(0, 10**6)
Make = Callable[..., Cluster]
Legal = Callable[[d.Static, d.State], list[tuple[int, int, int]]]


def opened(cluster: Cluster) -> tuple[d.Static, d.State]:
    static = d.make_static(cluster)
    return static, d.make_state(cluster, static)


def measured(cluster: Cluster) -> float:
    static, state = opened(cluster)
    return float(value(static, state.totals))


def active_free(cluster: Cluster) -> np.ndarray:
    return cluster.free()[0][cluster.pm_status == ACTIVE]


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_fragment_rate_is_the_share_of_free_cores_that_make_no_slot(
    tiny_cluster: Make, seed: int
) -> None:
    cluster = tiny_cluster(seed)
    left_over = total = 0
    for free in active_free(cluster).ravel().tolist():
        total += free
        while free >= 16:  # whole 16-core VMs placed one by one
            free -= 16
        left_over += free
    assert measured(cluster) == pytest.approx(left_over / total if total else 0.0)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_mixed_objective_weighs_three_granularities(tiny_cluster: Make, seed: int) -> None:
    cluster = tiny_cluster(seed, objective="mixed", weights=np.array([1.0, 2.0, 5.0]))
    active = cluster.pm_status == ACTIVE
    free, mem = (part[active] for part in cluster.free())
    if free.sum() == 0 or mem.sum() == 0:
        return
    nodes = 1 + (cluster.numa_cpu[active, 1] > 0)
    # A 64-core VM takes all of its cores on one node, or half on each of two.
    large = sum(
        row[0] // 64 if count == 1 else min(row // 32)
        for row, count in zip(free, nodes, strict=True)
    )
    rates = (
        (free % 16).sum() / free.sum(),
        1 - 64 * large / free.sum(),
        (mem % 65536).sum() / mem.sum(),
    )
    assert measured(cluster) == pytest.approx(np.dot(rates, [1, 2, 5]) / 8)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_goal_costs_the_moves_made_or_all_moves_and_the_slots_missing(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed, objective="moves_to_goal", goal_rate=0.4, mnl=6)
    static, state = opened(cluster)
    rng = np.random.default_rng(seed)
    for made in range(4):
        free = state.free_cpu[cluster.pm_status == ACTIVE]
        slots = math.floor(int(free.sum()) * 0.6 / 16 + 1e-9)  # most that 0.4 may lack
        rate = (free % 16).sum() / max(free.sum(), 1)
        if rate <= 0.4:
            assert goal_reached(static, state.totals)
            assert value(static, state.totals) == made
            return
        needed = math.ceil(free.sum() * 0.6 / 16 - 1e-9)
        assert value(static, state.totals) == 6 + needed - (free // 16).sum() > 6
        assert needed - slots in (0, 1)
        moves = legal_moves(static, state)
        if not moves:
            return
        d.move(static, state, *moves[rng.integers(len(moves))])


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_draining_counts_vms_left_before_fragments(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed, objective="drain", drain_pms=np.array([0, 1], np.int64))
    static, state = opened(cluster)
    assert int(value(static, state.totals)) == (cluster.vm_pm < 2).sum() or (
        fragment_rate(state.totals) == 1.0
    )
    before = d.copy_state(state)
    for vm, pm, node in legal_moves(static, state):
        if state.vm_pm[vm] < 2 <= pm:
            d.move(static, state, vm, pm, node)
            assert state.totals[d.ON_DRAIN] == before.totals[d.ON_DRAIN] - 1
            d.restore_state(state, before)


def test_a_disabled_host_can_be_drained_and_its_free_cores_do_not_count(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    emptied = 0
    for seed in range(40):
        drained = tiny_cluster(seed)
        status = np.zeros(drained.n_pms, np.int8)
        status[0] = 1
        cluster = tiny_cluster(
            seed, objective="drain", drain_pms=np.array([0], np.int64), pm_status=status
        )
        static, state = opened(cluster)
        while moves := [m for m in legal_moves(static, state) if state.vm_pm[m[0]] == 0]:
            d.move(static, state, *moves[0])
        assert state.totals[d.FREE] == state.free_cpu[1:].sum()
        left = int((state.vm_pm == 0).sum())
        assert value(static, state.totals) == left + fragment_rate(state.totals)
        emptied += left == 0 and int((cluster.vm_pm == 0).sum()) > 0
    assert emptied > 0


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_full_step_of_reward_is_the_fragment_cores_removed_over_128(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed, pm_status=np.zeros(tiny_cluster(seed).n_pms, np.int8))
    static, state = opened(cluster)
    for vm, pm, node in legal_moves(static, state)[:3]:
        before = d.copy_state(state)
        d.move(static, state, vm, pm, node)
        removed = int((before.free_cpu % 16).sum() - (state.free_cpu % 16).sum())
        gain = value(static, before.totals) - value(static, state.totals)
        scale = reward_scale(static, before.totals)
        assert gain * scale == pytest.approx(removed / 128)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_admission_is_the_room_lost_by_the_potential_that_allocation_learned(
    tiny_cluster: Make, seed: int
) -> None:
    cluster = tiny_cluster(seed, objective="admission")
    active = cluster.pm_status == ACTIVE
    size = cluster.numa_cpu[active].max(axis=1).astype(np.float64)

    def room(free: np.ndarray) -> float:
        found = np.empty(active.sum())
        potentials(host_potential(), free[active].astype(np.int64), size, 1.0, found)
        return float(found.sum())

    nothing = np.zeros_like(cluster.numa_cpu)
    empty, full = room(cluster.numa_cpu), room(nothing)
    lost = 100 * (empty - room(cluster.free()[0])) / (empty - full) if active.any() else 0.0
    # Each host's potential, some tens, is rounded to tenths.
    assert measured(cluster) == pytest.approx(lost, abs=1.0)


def test_no_room_is_lost_on_empty_hosts_and_all_of_it_on_full_ones(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5, objective="admission")
    used = cluster.numa_cpu - cluster.free()[0]
    assert measured(tiny_cluster(5, objective="admission", numa_cpu=used)) == 100.0
    assert measured(tiny_cluster(5, objective="admission", numa_cpu=used + 400)) < 25.0
    out = tiny_cluster(5, objective="admission", pm_status=np.ones(cluster.n_pms, np.int8))
    assert measured(out) == 0.0


@pytest.mark.parametrize("cores", [(44, 44), (34, 20), (64, 0), (5, 5), (1, 0), (0, 0)])
def test_both_halves_know_the_same_room_for_every_state_of_a_host(cores: tuple[int, int]) -> None:
    points = points_by_cores(*cores)
    size = max(*cores, 1)
    assert points.tolist() == [
        [room_of(a, b, size) for b in range(cores[1] + 1)] for a in range(cores[0] + 1)
    ]


def test_hosts_too_large_for_a_table_of_room_are_refused(tiny_cluster: Make) -> None:
    with pytest.raises(InstanceError, match="NUMA nodes of up to 512 cores, and one here has 600"):
        tiny_cluster(5, objective="admission", numa_cpu=np.full((5, 2), 600))


def test_in_millicores_everything_is_as_in_cores(tiny_cluster: Make) -> None:
    for seed in range(10):
        cores = tiny_cluster(seed)
        milli = tiny_cluster(
            seed,
            numa_cpu=cores.numa_cpu * 1000,
            flavor_cpu=cores.flavor_cpu * 1000,
            cpu_per_core=1000,
        )
        for objective in OBJECTIVES:
            settings_of = {"objective": objective, "drain": "pm0"}
            a, b = (with_settings(c, settings_of) for c in (cores, milli))
            assert measured(a) == pytest.approx(measured(b))


def test_every_objective_is_minimized_and_has_a_unit() -> None:
    assert set(OBJECTIVE_OF) == set(OBJECTIVES)
    assert {o.direction for o in OBJECTIVE_OF.values()} == {"minimize"}


def test_nothing_free_is_no_fragment(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    used_cpu = cluster.numa_cpu - cluster.free()[0]
    used_mem = cluster.numa_mem - cluster.free()[1]
    full = tiny_cluster(5, numa_cpu=used_cpu, numa_mem=used_mem)
    assert measured(full) == 0.0
    assert objective_of(full).name == "fragment_rate"
