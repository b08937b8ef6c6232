"""What the solvers and oracles of vm_allocation do, as statements about data centers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Policy, World
from sysopt_gym.core.errors import SettingError
from sysopt_gym.core.play import Task, play_policy
from sysopt_gym.core.registry import load_contender, load_problem
from sysopt_gym.datasets.vm_allocation.arrivals import requests_of
from sysopt_gym.datasets.vm_allocation.generator import generate
from sysopt_gym.datasets.vm_allocation.instance import DataCenter, life_class
from sysopt_gym.datasets.vm_allocation.settings import with_settings
from sysopt_gym.datasets.vm_allocation.splits import SETS
from sysopt_gym.envs.vm_allocation.dynamics import NO_ONE
from sysopt_gym.envs.vm_allocation.env import VMAllocationEnv
from sysopt_gym.envs.vm_allocation.observation import Clock, Vm
from sysopt_gym.envs.vm_allocation.validate import validate
from sysopt_gym.methods.vm_allocation.futures import Process, process_of, remaining_s
from sysopt_gym.methods.vm_allocation.hourly import Chance, HourlyMoves, rescheduler, snapshot
from sysopt_gym.methods.vm_allocation.playing import packed_world, play_tables
from sysopt_gym.methods.vm_allocation.slots import TUNED_WEIGHTS, slot_tables
from sysopt_gym.solvers.vm_allocation import fluid, hindsight, tuning
from sysopt_gym.solvers.vm_allocation.fits import BestFit
from sysopt_gym.solvers.vm_allocation.lars import plan_lars
from sysopt_gym.solvers.vm_allocation.lifetimes import Dvla, LaBinary, Lava, Nilas
from sysopt_gym.solvers.vm_allocation.slots import TunedSlots

PROBLEM = load_problem("vm_allocation")
Watch = Callable[[VMAllocationEnv, Mapping[str, np.ndarray], int], None]


def center_of(hours: str, parameters: Mapping[str, str], **values: str) -> DataCenter:
    return with_settings(generate(parameters, 1), {"horizon_h": hours} | values)


def watched(policy: Policy, center: DataCenter, world: int, watch: Watch) -> Mapping[str, Any]:
    """Play a world; `watch` gets environment, observation and action before each step."""
    env = VMAllocationEnv(center)
    observation, info = env.reset(seed=world)
    policy.reset(center, Budget(60.0), 0)
    ended = False
    while not ended:
        action = policy.act(observation, info)
        watch(env, observation, action)
        observation, _, ended, _, info = env.step(action)
    return info


def lost_by(name: str, center: DataCenter, world: int) -> float:
    policy = load_contender("vm_allocation", name).object()
    played = play_policy(PROBLEM, policy, Task(center, Budget(60.0), 0, world)).played
    assert played is not None
    return played.objective


CLASSES = {"pms": "12", "law": "classes"}


def test_la_binary_opens_no_empty_host_while_one_in_use_has_room_and_prefers_its_class() -> None:
    center = center_of("4", CLASSES, lifetimes="class")
    trace = requests_of(center, 3)
    is_long = life_class(trace.told_s) > 0

    def watch(env: VMAllocationEnv, seen: Mapping[str, np.ndarray], action: int) -> None:
        if seen["clock"][Clock.PLACE] == 0:
            return
        state = env.state
        used = np.zeros(center.n_pms, np.bool_)
        longest = np.zeros(center.n_pms, np.bool_)
        for vm in state.slots[state.slots != NO_ONE].tolist():
            used[state.place[vm] // 2] = True
            longest[state.place[vm] // 2] |= is_long[vm]
        request = int(state.numbers[3])
        open_hosts = np.unique(np.flatnonzero(seen["action_mask"][: 2 * center.n_pms]) // 2)
        alike = used[open_hosts] & (longest[open_hosts] == is_long[request])
        assert used[action // 2] or not used[open_hosts].any()
        assert not alike.any() or longest[action // 2] == is_long[request]

    watched(LaBinary(), center, 3, watch)


def test_nilas_does_not_put_off_an_exit_where_it_need_not() -> None:
    center = center_of("4", CLASSES, lifetimes="predicted", prediction_sigma="0")
    trace = requests_of(center, 3)
    exits = trace.arrive_s + trace.told_s

    def watch(env: VMAllocationEnv, seen: Mapping[str, np.ndarray], action: int) -> None:
        if seen["clock"][Clock.PLACE] == 0:
            return
        state = env.state
        latest = np.full(center.n_pms, int(state.numbers[1]))
        for vm in state.slots[state.slots != NO_ONE].tolist():
            pm = state.place[vm] // 2
            latest[pm] = max(latest[pm], exits[vm])
        added = exits[int(state.numbers[3])] - latest
        open_hosts = np.flatnonzero(seen["action_mask"][: 2 * center.n_pms]) // 2
        # Within the first interval of the grid all are alike.
        if (added[open_hosts] < 1790).any():
            assert added[action // 2] < 1810

    watched(Nilas(), center, 3, watch)


def test_lava_keeps_full_hosts_for_shorter_vms() -> None:
    center = center_of("4", CLASSES, lifetimes="class")
    rule = Lava()
    fillers = 0

    def watch(env: VMAllocationEnv, seen: Mapping[str, np.ndarray], action: int) -> None:
        nonlocal fillers
        if seen["clock"][Clock.PLACE] == 0:
            return
        told = int(seen["request"][8:12].argmax())
        open_hosts = np.flatnonzero(seen["action_mask"][: 2 * center.n_pms]) // 2
        refuses = rule._recycled & (rule._class <= told)
        assert not refuses[action // 2] or refuses[open_hosts].all()
        gaps = rule._recycled & (rule._class == told + 1)
        if gaps[open_hosts].any():
            assert gaps[action // 2]
            fillers += 1

    watched(rule, center, 3, watch)
    assert fillers > 0


@pytest.mark.parametrize(
    ("rule", "plain"), [(Nilas, TunedSlots), (LaBinary, None), (Lava, None), (Dvla, None)]
)
def test_told_nothing_lifetime_rules_still_play_and_nilas_is_the_rule_behind_it(
    rule: Callable[[], Policy], plain: Callable[[], Policy] | None
) -> None:
    center = center_of("1", CLASSES)
    plans: list[list[int]] = [[], []]
    watched(rule(), center, 2, lambda env, seen, action: plans[0].append(action))
    if plain is not None:
        watched(plain(), center, 2, lambda env, seen, action: plans[1].append(action))
        assert plans[0] == plans[1]


def test_tuned_weights_have_seen_worlds_for_training_alone() -> None:
    train = {center.content_hash for center in SETS.load("medium-95:train")}
    drawn = [center for center, _ in tuning.draw_worlds(np.random.default_rng(0))]
    assert {center.content_hash for center in drawn} <= train
    assert not train & {center.content_hash for center in SETS.load("medium-95:test")}


def test_tuned_slots_lose_less_than_slots_that_count_alike_and_best_fit_in_other_worlds() -> None:
    lost = {}
    for name, weights in {"tuned": TUNED_WEIGHTS, "no slots": (0.0, 0.0, 0.0)}.items():
        tables = slot_tables(weights, 44)
        centers = SETS.load("medium-95:val")
        lost[name] = np.mean([play_tables(packed_world(one, 0), *tables) for one in centers])
    assert lost["tuned"] < lost["no slots"] < 6.5


def test_compiled_play_of_tuned_slots_is_the_policy() -> None:
    center = center_of("2", {"pms": "20"})
    compiled = play_tables(packed_world(center, 5), *slot_tables(TUNED_WEIGHTS, 44))
    assert compiled == lost_by("slots_tuned", center, 5)


MOVING = {"pms": "10", "batch_mean": "2", "sets": "0.3", "pinned": "0.2", "law": "classes"}


@pytest.mark.parametrize("planner", ["columns", "local_search", "lars"])
def test_hourly_moves_keep_to_the_budget_and_every_planned_move_is_made(planner: str) -> None:
    center = center_of("4", MOVING, moves_per_hour="6", lifetimes="predicted")
    plan = plan_lars if planner == "lars" else rescheduler(planner, "fragment_rate")
    planned: list[int] = []

    def counted(chance: Chance) -> np.ndarray:
        assert chance.cluster.mnl == 6
        found = np.asarray(plan(chance)).reshape(-1, 2)
        planned.append(len(found))
        return found

    policy = HourlyMoves(BestFit(), counted, 0.05)
    info = watched(policy, center, 4, lambda env, seen, action: None)
    assert info["moves"] == sum(planned) <= 6 * 3
    assert planned and max(planned) <= 6


def test_a_snapshot_has_the_free_cores_and_the_vms_of_the_data_center() -> None:
    center = center_of("3", MOVING, moves_per_hour="6")
    seen_any = False

    def watch(env: VMAllocationEnv, seen: Mapping[str, np.ndarray], action: int) -> None:
        nonlocal seen_any
        if seen["clock"][Clock.CHOOSE] == 0:
            return
        rows = np.flatnonzero(seen["vm_flavor"] >= 0)
        cluster = snapshot(center, seen, rows, 6)
        free_cpu, free_mem = cluster.free()
        assert np.array_equal(free_cpu, env.state.free_cpu)
        assert np.array_equal(free_mem, env.state.free_mem)
        assert cluster.vm_pinned[seen["vms"][rows, Vm.IN_SET] > 0].all()
        seen_any = True

    watched(HourlyMoves(BestFit(), plan_lars), center, 4, watch)
    assert seen_any


def test_a_planner_whose_moves_do_not_fit_ends_at_the_first_that_does_not() -> None:
    center = center_of("3", MOVING, moves_per_hour="6")

    def wrong(chance: Chance) -> np.ndarray:
        vm = int(np.flatnonzero(~chance.cluster.vm_pinned)[0])
        return np.array([[vm, 2 * chance.cluster.vm_pm[vm]]] * 6)

    info = watched(HourlyMoves(BestFit(), wrong), center, 4, lambda env, seen, action: None)
    assert info["moves"] <= 2 * 6


def test_lars_moves_nobody_that_is_told_nothing_of() -> None:
    center = center_of("3", MOVING, moves_per_hour="6")
    info = watched(HourlyMoves(BestFit(), plan_lars), center, 4, lambda env, seen, action: None)
    assert info["moves"] == 0


LARGE_VMS = np.array([0, 0, 0.2, 0.3, 0.1, 0.2, 0, 0.2, 0, 0, 0])


def tiny() -> DataCenter:
    """Return two hosts and a few large VMs, of which some have to be turned away."""
    center = center_of("0.4", {"pms": "2", "mean_life_h": "1"})
    return dataclasses.replace(center, start_vms=2, arrivals_per_h=15.0, flavor_share=LARGE_VMS)


def by_trying_all(center: DataCenter, world: int) -> float:
    """Return the least that any plan loses."""
    best = np.inf

    def go_on(env: VMAllocationEnv, mask: np.ndarray) -> None:
        nonlocal best
        for action in np.flatnonzero(mask).tolist():
            twin = copy.copy(env)
            seen, _, ended, _, info = twin.step(action)
            if ended:
                best = min(best, float(info["objective"]))
            else:
                go_on(twin, seen["action_mask"])

    env = VMAllocationEnv(center)
    seen, _ = env.reset(seed=world)
    go_on(env, seen["action_mask"])
    return best


@pytest.mark.parametrize("world", [1, 3, 4, 8, 9])
def test_hindsight_is_the_best_of_all_plans_and_the_fluid_bound_is_below_it(world: int) -> None:
    center = tiny()
    found = hindsight.plan(center, Budget(20.0), World(world))
    verdict = validate(center, found.actions, World(world))
    assert found.status == "optimal" and verdict.feasible
    assert 0.0 < verdict.objective == pytest.approx(by_trying_all(center, world), abs=1e-6)
    assert found.bound == pytest.approx(verdict.objective, abs=1e-6)
    bound = fluid.plan(center, Budget(20.0), World(world)).bound
    assert bound is not None and bound <= verdict.objective
    for name in ("first_fit", "best_fit", "worst_fit", "slots_tuned", "random"):
        assert verdict.objective <= lost_by(name, center, world) + 1e-6, name


def test_hindsight_refuses_a_world_that_is_too_large() -> None:
    with pytest.raises(SettingError, match="set horizon_h lower"):
        hindsight.plan(center_of("24", {"pms": "50"}), Budget(5.0), World(0))


def test_the_fluid_bound_is_below_what_one_pool_of_cores_loses() -> None:
    center = center_of("6", {"pms": "20", "load": "1.0"})
    trace = requests_of(center, 1)
    bound = fluid.fluid_bound(center, trace, lambda: 60.0)
    assert bound is not None
    assert 0.0 < bound < fluid.first_come(center, trace) < lost_by("slots_tuned", center, 1)


def test_what_is_left_of_lives_follows_the_laws() -> None:
    rng = np.random.default_rng(1)
    process: Process = process_of(generate({"pms": "2", "law": "classes"}, 1))
    means = {age: [] for age in (0.0, 36_000.0)}  # type: dict[float, list[float]]
    for age, drawn in means.items():
        drawn += [remaining_s(process, rng, 0, age, False) for _ in range(20_000)]
    mixture = generate({"pms": "2", "law": "classes"}, 1).mean_life_h[0] * 3600
    assert np.mean(means[0.0]) == pytest.approx(mixture, rel=0.1)
    # After ten hours it is one of the VMs that stay for two days on average, but for 3 h ones.
    weights = np.array([0.3 * np.exp(-10 / 3), 0.1 * np.exp(-10 / 48)])
    expected = (weights @ np.array([3.0, 48.0])) / weights.sum() * 3600
    assert np.mean(means[36_000.0]) == pytest.approx(expected, rel=0.1)


def test_lookahead_knows_the_vms_that_are_there() -> None:
    center = center_of("2", {"pms": "6", "load": "1.2"})
    policy = load_contender("vm_allocation", "lookahead").object()

    def watch(env: VMAllocationEnv, seen: Mapping[str, np.ndarray], action: int) -> None:
        if seen["clock"][Clock.PLACE] == 0:
            return
        there = policy._there
        rows = np.flatnonzero(there.flavor >= 0)
        used = np.zeros(center.n_pms, np.int64)
        np.add.at(used, there.place[rows] // 2, center.flavor_total[there.flavor[rows]])
        request = int(env.state.numbers[3])
        flavor = requests_of(center, 4).flavor[request]
        used[action // 2] -= center.flavor_total[flavor]
        assert np.array_equal(used, center.numa_cpu.sum(axis=1) - env.state.free_cpu.sum(axis=1))

    watched(policy, center, 4, watch)
    assert policy.futures > 0
