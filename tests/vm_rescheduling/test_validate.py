"""The validator agrees with the dynamics on legal plans and names what corrupted ones break."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_rescheduling.churn import churned
from sysopt_gym.datasets.vm_rescheduling.instance import OBJECTIVES, Cluster
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.dynamics import broken_sets
from sysopt_gym.envs.vm_rescheduling.objective import goal_reached, value
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM
from sysopt_gym.envs.vm_rescheduling.validate import validate, validate_each
from sysopt_gym.evaluation.judge import judge

SEEDS = st.integers(0, 10**6)
STILL = World()
Make = Callable[..., Cluster]
Legal = Callable[[d.Static, d.State], list[tuple[int, int, int]]]


def walk(
    cluster: Cluster, legal: Legal, seed: int, steps: int
) -> tuple[list[int], d.Static, d.State]:
    """A random legal plan, and the state it leads to."""
    rng = np.random.default_rng(seed)
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    plies: list[int] = []
    for _ in range(steps):
        moves = legal(static, state)
        if not moves or goal_reached(static, state.totals):
            break
        vm, pm, node = moves[rng.integers(len(moves))]
        d.move(static, state, vm, pm, node)
        plies += [vm, 2 * pm + node]
    return plies, static, state


def judged(cluster: Cluster, plies: list[int], world: World = STILL) -> Any:
    return validate(cluster, np.array(plies, np.int64), world)


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_it_agrees_with_the_dynamics_on_legal_plans(
    tiny_cluster: Make, legal_moves: Legal, objective: str, seed: int
) -> None:
    cluster = tiny_cluster(seed, objective=objective, drain_pms=np.array([0, 1]), mnl=6)
    plies, static, state = walk(cluster, legal_moves, seed, 6)
    verdict = judged(cluster, plies)
    assert verdict.violations == ()
    assert verdict.objective == pytest.approx(value(static, state.totals), abs=1e-12)
    assert verdict.detail["moves"] == len(plies) // 2


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_the_dynamics_on_which_moves_are_legal(
    tiny_cluster: Make, legal_moves: Legal, seed: int
) -> None:
    cluster = tiny_cluster(seed, pm_move_cap=2)
    plies, static, state = walk(cluster, legal_moves, seed, 2)
    legal = set(legal_moves(static, state))
    rng = np.random.default_rng(seed)
    for _ in range(12):
        vm, pm = int(rng.integers(cluster.n_vms)), int(rng.integers(cluster.n_pms))
        node = int(rng.integers(2))
        verdict = judged(cluster, [*plies, vm, 2 * pm + node])
        assert verdict.feasible == ((vm, pm, node) in legal), verdict.violations
        assert verdict.feasible == (not math.isnan(verdict.objective))


def test_doing_nothing_is_a_plan(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    assert judged(cluster, []).feasible
    assert judged(cluster, [cluster.n_vms]).objective == judged(cluster, []).objective


# --- Corrupted plans, on a cluster made by hand ------------------------------------------------
# Hosts a (full), b, c with two nodes of 32 cores; a and b in one rack. VMs: 0 on a/0, 1 on b/0,
# 2 on c/0 (pinned), 3 on both nodes of c, 4 fills a/1. Sets: {0, 1} by host, {2, 1} by rack.


@pytest.fixture
def trio(tiny_cluster: Make) -> Callable[..., Cluster]:
    def make(**changes: Any) -> Cluster:
        template = tiny_cluster(5)
        base: dict[str, Any] = {
            "name": "trio",
            "pm_ids": ("a", "b", "c"),
            "pm_status": np.zeros(3, np.int8),
            "pm_rack": np.array([0, 0, 1]),
            "numa_cpu": np.full((3, 2), 32),
            "numa_mem": np.full((3, 2), 64 * 1024),
            "flavor_names": ("small", "node", "double"),
            "flavor_cpu": np.array([4, 32, 8]),
            "flavor_mem": np.array([4096, 4096, 4096]),
            "flavor_nodes": np.array([1, 1, 2]),
            "vm_ids": ("v0", "v1", "v2", "v3", "v4"),
            "vm_flavor": np.array([0, 0, 0, 2, 1]),
            "vm_pm": np.array([0, 1, 2, 2, 0]),
            "vm_numa": np.array([0, 0, 0, 0, 1]),
            "vm_pinned": np.array([False, False, True, False, False]),
            "set_start": np.array([0, 2, 4]),
            "set_vms": np.array([0, 1, 2, 1]),
            "set_by_rack": np.array([False, True]),
            "mnl": 3,
        }
        fields = {name: getattr(template, name) for name in ("cpu_per_core", "drain_pms")}
        return template.__class__(
            **(
                {
                    "pm_move_cap": 0,
                    "objective": "fragment_rate",
                    "goal_rate": 0.4,
                    "weights": template.weights,
                    "mode": "static",
                    "churn_per_min": 0.0,
                }
                | fields
                | base
                | changes
            )
        )

    return make


A0, A1, B0, B1, C0, C1 = range(6)


@pytest.mark.parametrize(
    ("changes", "plies", "message"),
    [
        ({}, [0, C0, -1, B0], "step 2: VM index -1 is negative"),
        ({}, [0, 6], r"step 1: destination 6 is outside 0\.\.5"),
        ({}, [0, -1], "step 1: destination -1 is outside"),
        ({}, [0, C0, 1], "step 2: VM v1 is chosen, but no destination follows"),
        ({}, [1, A1], "step 1: VM v1 to a/1: node 1 has 0 CPU free, the VM needs 4"),
        ({}, [2, B0], "step 1: VM v2 to b/0: the VM is pinned"),
        ({}, [0, B0], "step 1: VM v0 to b/0: v1 of deployment set 0 is on that host"),
        ({}, [1, C1], "step 1: VM v1 to c/1: v2 of deployment set 1 is in rack 1"),
        ({}, [0, A0], "step 1: VM v0 to a/0: it is there already"),
        ({}, [3, B1], "step 1: VM v3 to b/1: a VM on two nodes is addressed by node 0"),
        ({"mnl": 1}, [0, C0, 3, B0], r"step 2: the episode is over after 1 moves \(mnl is 1\)"),
        ({}, [0, C0, 5, 1], "step 2: 1 plies follow the stop"),
        ({}, [0, C0, 6], "step 2: VM index 6 is above 5, the stop"),
        (
            {"vm_pinned": np.array([False, True, True, True, True]), "pm_move_cap": 1},
            [0, C0, 5],
            "step 2: the episode is over, no VM has a legal move left",
        ),
        ({"pm_move_cap": 1}, [0, C0, 3, B0], "host c has taken part in 1 moves already"),
        (
            {"pm_status": np.array([0, 0, 1], np.int8)},
            [0, C0],
            "step 1: VM v0 to c/0: the host is DISABLED, no VM may enter",
        ),
        (
            {"pm_status": np.array([2, 0, 0], np.int8)},
            [0, C0],
            "its host a is in OUTAGE, no VM may leave",
        ),
        (
            {"numa_mem": np.array([[65536] * 2, [65536] * 2, [9000, 9000]])},
            [0, C0],
            "step 1: VM v0 to c/0: node 0 has 808 MB free, the VM needs 4096",
        ),
        (
            {"numa_cpu": np.array([[32, 32], [32, 0], [32, 32]])},
            [3, B0],
            "step 1: VM v3 to b/0: the host has no such NUMA node",
        ),
        (
            {"objective": "moves_to_goal", "goal_rate": 1.0},
            [0, C0],
            r"step 1: the episode is over after 0 moves \(the goal rate 1.0 is reached\)",
        ),
    ],
)
def test_a_corrupted_plan_is_infeasible_and_says_why(
    trio: Callable[..., Cluster], changes: dict[str, Any], plies: list[int], message: str
) -> None:
    verdict = judged(trio(**changes), plies)
    assert not verdict.feasible
    assert math.isnan(verdict.objective)
    assert any(re.search(message, line) for line in verdict.violations)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("mode", ["static", "live"])
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_plans_that_are_validated_together_get_the_verdicts_they_get_alone(
    tiny_cluster: Make, legal_moves: Legal, objective: str, mode: str, seed: int
) -> None:
    more = {"objective": objective, "drain_pms": np.array([0, 1]), "mnl": 6, "mode": mode}
    cluster = tiny_cluster(seed, **more, pm_move_cap=2 if seed % 2 else 0)
    plans = [np.array(walk(cluster, legal_moves, seed + i, 2 * i)[0], np.int64) for i in range(4)]
    plans.insert(2, np.concatenate([plans[3][::-1], plans[3]]))  # hardly legal
    worlds = [World(seed, float(i)) for i in range(len(plans))]
    together = validate_each(cluster, plans, worlds)
    alone = [validate(cluster, one, world) for one, world in zip(plans, worlds, strict=True)]
    assert repr(together) == repr(alone)  # NaN is no equal of itself


def test_an_episode_that_is_over_before_its_first_ply_takes_a_stop(
    trio: Callable[..., Cluster],
) -> None:
    reached = trio(objective="moves_to_goal", goal_rate=1.0)
    for cluster in (reached, trio(vm_pinned=np.ones(5, np.bool_))):
        found = judge(PROBLEM, cluster, np.array([5], np.int64), STILL)
        assert found.feasible and found.agree


def test_what_follows_the_last_legal_move_is_ignored_in_live_mode(
    trio: Callable[..., Cluster],
) -> None:
    live = trio(mode="live", vm_pinned=np.ones(5, np.bool_))
    for plies in ([0], [-1], [0, 99], [7, 0]):
        assert judge(PROBLEM, live, np.array(plies, np.int64), STILL).feasible


def test_a_set_by_host_lets_its_members_share_a_rack(trio: Callable[..., Cluster]) -> None:
    assert judged(trio(), [0, C1]).feasible  # v2 of rack 1 is in no set with v0


def test_a_vm_may_change_the_node_on_its_host(trio: Callable[..., Cluster]) -> None:
    verdict = judged(trio(), [1, B1])
    assert verdict.feasible
    assert verdict.detail["moves"] == 1


def test_a_disabled_host_may_be_left(trio: Callable[..., Cluster]) -> None:
    assert judged(trio(pm_status=np.array([1, 0, 0], np.int8)), [0, C0]).feasible


def test_actions_that_are_no_flat_list_of_whole_numbers_are_refused(
    trio: Callable[..., Cluster],
) -> None:
    for actions in (np.array([[0, 4]]), np.array([0.0, 4.0])):
        verdict = validate(trio(), actions, STILL)
        assert not verdict.feasible
        assert "flat list of whole numbers" in verdict.violations[0]


# --- Live mode ---------------------------------------------------------------------------------


def test_without_churn_live_mode_judges_as_static_mode(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    for seed in range(20):
        cluster = tiny_cluster(seed)
        plies, *_ = walk(cluster, legal_moves, seed, 5)
        live = tiny_cluster(seed, mode="live", churn_per_min=0.0)
        world = World(seed=1, elapsed_s=60.0)
        assert judged(live, plies, world).objective == judged(cluster, plies).objective


def test_in_live_mode_moves_that_no_longer_fit_are_skipped_and_count_as_none(
    trio: Callable[..., Cluster],
) -> None:
    live = trio(mode="live", mnl=1)
    verdict = judged(live, [2, B0, 0, B0, 0, C0, 3, B0])
    assert verdict.feasible
    assert verdict.detail == {
        "moves": 1.0, "skipped": 2.0, "fragment_rate": verdict.objective,
        "broken_sets_before": 0.0, "broken_sets": 0.0,
    }  # fmt: skip
    assert verdict.objective == judged(trio(), [0, C0]).objective


def live_cases(make: Make) -> Iterator[tuple[Cluster, World]]:
    for seed in range(30):
        yield (
            make(seed, mode="live", churn_per_min=120.0, mnl=4),
            World(seed=seed, elapsed_s=float(seed % 6)),
        )


def test_a_live_plan_scores_as_its_surviving_moves_on_the_churned_cluster(
    tiny_cluster: Make, legal_moves: Legal
) -> None:
    skipped = 0
    for cluster, world in live_cases(tiny_cluster):
        plies, *_ = walk(tiny_cluster(world.seed, mnl=4), legal_moves, world.seed, 6)
        after, where = churned(cluster, world.seed, world.elapsed_s)
        static = d.make_static(after)
        state = d.make_state(after, static)
        for vm, destination in zip(plies[::2], plies[1::2], strict=True):
            now, place = int(where[vm]), divmod(destination, 2)
            if now >= 0 and d.is_legal(static, state, now, *place):
                d.move(static, state, now, *place)
            else:
                skipped += 1
        verdict = judged(cluster, plies, world)
        assert verdict.feasible
        assert verdict.objective == pytest.approx(value(static, state.totals), abs=1e-12)
        assert verdict.detail["moves"] == state.totals[d.MOVES]
    assert skipped > 0


@given(seed=SEEDS, world=st.integers(0, 10**6), seconds=st.floats(0, 60))
@settings(max_examples=60, deadline=None)
def test_the_validators_own_churn_leads_to_the_same_world(
    tiny_cluster: Make, seed: int, world: int, seconds: float
) -> None:
    live = tiny_cluster(seed, mode="live", objective="drain", drain_pms=np.array([0, 1]))
    after, _ = churned(live, world, seconds)
    static = d.make_static(after)
    state = d.make_state(after, static)
    found = judged(live, [], World(world, seconds))
    assert found.objective == pytest.approx(value(static, state.totals), abs=1e-12)


def test_an_unknown_vm_makes_a_live_plan_infeasible_too(trio: Callable[..., Cluster]) -> None:
    assert not judged(trio(mode="live"), [-1, B0]).feasible


def test_sets_that_are_broken_at_the_start_are_told_and_no_plan_breaks_more(
    tiny_cluster: Callable[..., Cluster], legal_moves: Callable[..., Any]
) -> None:
    broken = 0
    for seed in range(25):
        cluster = tiny_cluster(seed, mnl=5)
        plies, *_ = walk(cluster, legal_moves, seed, 5)
        detail = judged(cluster, plies).detail or {}
        if not len(cluster.set_by_rack):
            assert "broken_sets" not in detail
            continue
        assert detail["broken_sets_before"] == broken_sets(cluster).sum()
        assert detail["broken_sets"] <= detail["broken_sets_before"]
        broken += int(detail["broken_sets_before"])
    assert broken > 0
