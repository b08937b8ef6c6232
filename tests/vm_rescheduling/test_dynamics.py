"""What a migration changes and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.datasets.vm_rescheduling.instance import ACTIVE, OUTAGE, Cluster
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.rooms import points_by_cores

SEEDS = st.integers(0, 10**6)
Make = Callable[..., Cluster]
Legal = Callable[[d.Static, d.State], list[tuple[int, int, int]]]


def opened(cluster: Cluster) -> tuple[d.Static, d.State]:
    static = d.make_static(cluster)
    return static, d.make_state(cluster, static)


def walk(
    cluster: Cluster, legal: Legal, seed: int, steps: int
) -> list[tuple[tuple[int, int, int], d.State]]:
    """Random legal moves with the state after each."""
    rng = np.random.default_rng(seed)
    static, state = opened(cluster)
    taken = []
    for _ in range(steps):
        moves = legal(static, state)
        if not moves:
            break
        chosen = moves[rng.integers(len(moves))]
        d.move(static, state, *chosen)
        taken.append((chosen, d.copy_state(state)))
    return taken


def recount(cluster: Cluster, state: d.State) -> list[int]:
    """The totals from the definition, one node at a time."""
    totals = [0] * len(d.TOTALS)
    for pm in range(cluster.n_pms):
        if cluster.pm_status[pm] != ACTIVE:
            continue
        nodes = [n for n in (0, 1) if cluster.numa_cpu[pm, n] > 0]
        large = []
        for node in nodes:
            free, mem = int(cluster.numa_cpu[pm, node]), int(cluster.numa_mem[pm, node])
            for vm in range(cluster.n_vms):
                kind = cluster.vm_flavor[vm]
                if state.vm_pm[vm] == pm and (
                    cluster.flavor_nodes[kind] == 2 or state.vm_numa[vm] == node
                ):
                    free -= int(cluster.flavor_cpu[kind])
                    mem -= int(cluster.flavor_mem[kind])
            totals[d.FRAGMENT] += free % 16
            totals[d.FREE] += free
            totals[d.MEM_FRAGMENT] += mem % 65536
            totals[d.MEM_FREE] += mem
            large.append(free // (64 // len(nodes)))
        totals[d.LARGE_SLOTS] += min(large)
        if cluster.objective == "admission":
            sizes = cluster.numa_cpu[pm].tolist()
            totals[d.ROOM] += points_by_cores(*sizes)[tuple(state.free_cpu[pm])]
    drained = set(cluster.drain_pms.tolist())
    totals[d.ON_DRAIN] = sum(int(pm) in drained for pm in state.vm_pm)
    totals[d.MOVES] = int(state.totals[d.MOVES])
    return totals


@given(SEEDS, st.sampled_from(["fragment_rate", "admission"]))
@settings(max_examples=60, deadline=None)
def test_totals_kept_by_increments_equal_a_recount(
    tiny_cluster: Make, legal_moves: Legal, seed: int, objective: str
) -> None:
    cluster = tiny_cluster(seed, objective=objective, drain_pms=np.array([0], np.int64))
    for count, (_, state) in enumerate(walk(cluster, legal_moves, seed, 6), start=1):
        assert state.totals.tolist() == recount(cluster, state)
        assert state.totals[d.MOVES] == count


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_migration_never_changes_the_total_of_free_cores(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed)
    _, start = opened(cluster)
    for _, state in walk(cluster, legal_moves, seed, 8):
        assert state.free_cpu.sum() == start.free_cpu.sum()
        assert state.free_mem.sum() == start.free_mem.sum()
        assert state.free_cpu.min() >= 0
        assert state.free_mem.min() >= 0


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_move_and_its_reverse_restore_everything_but_the_counts_of_moves(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed)
    static, state = opened(cluster)
    before = d.copy_state(state)
    for vm, pm, node in legal_moves(static, state):
        home = int(state.vm_pm[vm]), int(state.vm_numa[vm])
        d.move(static, state, vm, pm, node)
        d.move(static, state, vm, *home)
        for field in ("free_cpu", "free_mem", "vm_pm", "vm_numa"):
            assert np.array_equal(getattr(state, field), getattr(before, field))
        assert state.totals[: d.MOVES].tolist() == before.totals[: d.MOVES].tolist()
        d.restore_state(state, before)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_move_touches_only_two_hosts_and_one_vm(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed)
    _, start = opened(cluster)
    states = [start, *(state for _, state in walk(cluster, legal_moves, seed, 5))]
    for before, after in pairwise(states):
        changed = (before.free_cpu != after.free_cpu).any(axis=1)
        moved = before.vm_pm != after.vm_pm
        assert changed.sum() <= 2
        assert moved.sum() <= 1
        assert (after.pm_moves - before.pm_moves).sum() in (1, 2)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_nothing_enters_a_host_that_is_not_active_and_nothing_leaves_one_in_outage(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    static, state = opened(tiny_cluster(seed))
    for vm, pm, _ in legal_moves(static, state):
        assert static.pm_status[pm] == ACTIVE
        assert static.pm_status[state.vm_pm[vm]] != OUTAGE
        assert not static.vm_pinned[vm]


def test_a_vm_on_two_nodes_never_goes_to_a_host_with_one(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    met = 0
    for seed in range(80):
        static, state = opened(tiny_cluster(seed))
        for vm, pm, node in legal_moves(static, state):
            if static.flavor_nodes[static.vm_flavor[vm]] == 2:
                assert static.pm_nodes[pm] == 2
                assert node == 0
            elif static.pm_nodes[pm] == 1:
                met += 1
                assert node == 0
    assert met > 0


def test_no_host_takes_part_in_more_moves_than_its_cap(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    bound = 0
    for seed in range(30):
        cluster = tiny_cluster(seed, pm_move_cap=1)
        for _, state in walk(cluster, legal_moves, seed, 9):
            assert state.pm_moves.max() <= 1
            bound += 1
    assert bound > 0


def test_no_move_is_legal_after_mnl_moves(tiny_cluster: Make, legal_moves: Legal) -> None:
    cluster = tiny_cluster(4, mnl=2)
    static = d.make_static(cluster)
    (_, _), (_, last) = walk(cluster, legal_moves, 0, 9)
    assert legal_moves(static, last) == []


def test_members_of_a_set_never_meet_by_a_move(tiny_cluster: Make, legal_moves: Legal) -> None:
    def together(cluster: Cluster, place: Any) -> set[tuple[int, int, int]]:
        pairs = set()
        for group, by_rack in enumerate(cluster.set_by_rack):
            start, stop = cluster.set_start[group : group + 2]
            for a in cluster.set_vms[start:stop]:
                for b in cluster.set_vms[start:stop]:
                    where = cluster.pm_rack[place] if by_rack else place
                    if a < b and where[a] == where[b]:
                        pairs.add((group, int(a), int(b)))
        return pairs

    apart = 0
    for seed in range(60):
        cluster = tiny_cluster(seed)
        met = together(cluster, cluster.vm_pm)
        for _, state in walk(cluster, legal_moves, seed, 6):
            now = together(cluster, state.vm_pm)
            assert now <= met  # what the snapshot already breaks may only get better
            apart += len(met) - len(now)
            met = now
    assert apart > 0
