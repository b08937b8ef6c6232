"""A plan in an operator's form: its rows, and what each move is said to rest on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import SolutionError
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.objective import fragment_rate
from sysopt_gym.envs.vm_rescheduling.plan import export_plan
from sysopt_gym.envs.vm_rescheduling.validate import validate

SEEDS = st.integers(0, 10**6)
Make = Callable[..., Cluster]
Legal = Callable[[d.Static, d.State], list[tuple[int, int, int]]]
Moves = list[tuple[int, int, int]]


def walk(cluster: Cluster, legal: Legal, seed: int, steps: int) -> Moves:
    """Random legal moves, with a liking for places just left, so that moves rest on each other."""
    rng = np.random.default_rng(seed)
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    taken: Moves = []
    left: set[int] = set()
    for _ in range(steps):
        moves = legal(static, state)
        if not moves:
            break
        liked = [move for move in moves if move[1] in left]
        choice = liked if liked and rng.random() < 0.7 else moves
        vm, pm, node = choice[rng.integers(len(choice))]
        left.add(int(state.vm_pm[vm]))
        d.move(static, state, vm, pm, node)
        taken.append((vm, pm, node))
    return taken


def plies(moves: Moves) -> np.ndarray:
    return np.array([ply for vm, pm, node in moves for ply in (vm, 2 * pm + node)], np.int64)


def legal_without(cluster: Cluster, moves: Moves, dropped: set[int], last: int) -> bool:
    """Whether move `last` is legal when the earlier ones, less the dropped, are simply made."""
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    for at, (vm, pm, node) in enumerate(moves[:last]):
        if at not in dropped:
            d.move(static, state, vm, pm, node)
    return d.is_legal(static, state, *moves[last])


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_row_tells_the_move_and_what_it_changes(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed)
    moves = walk(cluster, legal_moves, seed, 5)
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    for step, (row, (vm, pm, node)) in enumerate(
        zip(export_plan(cluster, plies(moves)), moves, strict=True), start=1
    ):
        kind = cluster.vm_flavor[vm]
        both = cluster.flavor_nodes[kind] == 2
        slots = int((state.free_cpu // 16)[cluster.pm_status == 0].sum())
        assert row["step"] == step
        assert row["vm"] == cluster.vm_ids[vm]
        assert row["cores"] == cluster.flavor_cpu[kind] * cluster.flavor_nodes[kind]
        assert row["from_pm"] == cluster.pm_ids[state.vm_pm[vm]]
        assert (row["to_pm"], row["to_numa"]) == (
            cluster.pm_ids[pm],
            "0+1" if both else str(node),
        )
        d.move(static, state, vm, pm, node)
        after = int((state.free_cpu // 16)[cluster.pm_status == 0].sum())
        assert row["gain_slots"] == after - slots
        assert row["fragment_rate"] == pytest.approx(fragment_rate(state.totals), abs=1e-6)


def test_dropping_a_move_that_a_later_one_rests_on_makes_the_later_one_illegal(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    named = 0
    for seed in range(150):
        cluster = tiny_cluster(seed)
        moves = walk(cluster, legal_moves, seed, 8)
        for at, row in enumerate(export_plan(cluster, plies(moves))):
            for steps in re.findall(r"(?:^|; )steps? ([\d, ]+) \(", row["rests_on"]):
                for step in steps.split(", "):
                    assert not legal_without(cluster, moves, {int(step) - 1}, at)
                    named += 1
    assert named > 100


def test_a_move_that_rests_on_nothing_is_legal_without_any_earlier_one(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    free_standing = 0
    for seed in range(100):
        cluster = tiny_cluster(seed)
        moves = walk(cluster, legal_moves, seed, 8)
        seen: set[int] = set()
        for at, row in enumerate(export_plan(cluster, plies(moves))):
            first = moves[at][0] not in seen
            seen.add(moves[at][0])
            if row["rests_on"] == "room already there" and first and len(set(seen)) == at + 1:
                assert legal_without(cluster, moves, set(range(at)), at)
                free_standing += 1
    assert free_standing > 100


def test_the_moves_of_a_wave_can_be_made_in_any_order(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    reordered = 0
    for seed in range(150):
        cluster = tiny_cluster(seed)
        moves = walk(cluster, legal_moves, seed, 8)
        waves = [row["wave"] for row in export_plan(cluster, plies(moves))]
        ties = np.random.default_rng(seed).permutation(len(moves))
        order = np.lexsort((ties, waves))
        shuffled = [moves[at] for at in order]
        assert validate(cluster, plies(shuffled), World()).feasible
        reordered += shuffled != moves
    assert reordered > 50


def test_deployment_sets_are_named_with_their_granularity(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    for seed in range(40):
        cluster = tiny_cluster(seed)
        for row in export_plan(cluster, plies(walk(cluster, legal_moves, seed, 5))):
            vm = cluster.vm_ids.index(row["vm"])
            expected = [
                f"{group} (by {'rack' if by_rack else 'host'})"
                for group, by_rack in enumerate(cluster.set_by_rack)
                if vm in cluster.set_vms[cluster.set_start[group] : cluster.set_start[group + 1]]
            ]
            assert row["deployment_sets"] == ", ".join(expected)


def test_an_illegal_plan_has_no_operators_form(tiny_cluster: Make, legal_moves: Legal) -> None:
    cluster = dataclasses.replace(tiny_cluster(7), mnl=2)
    legal_plan = plies(walk(cluster, legal_moves, 1, 2))
    assert len(export_plan(cluster, legal_plan)) == 2
    for bad in (
        np.append(legal_plan, [0, 0]),
        legal_plan[:-1],
        np.array([0, 2 * cluster.n_pms]),
        np.array([-1, 0]),
    ):
        assert not validate(cluster, bad, World()).feasible
        with pytest.raises(SolutionError, match=r"step \d of the plan is not legal"):
            export_plan(cluster, bad)


def test_a_stop_ends_the_plan(tiny_cluster: Make, legal_moves: Legal) -> None:
    cluster = tiny_cluster(7)
    moves = plies(walk(cluster, legal_moves, 1, 2))
    assert export_plan(cluster, np.append(moves, cluster.n_vms)) == export_plan(cluster, moves)
