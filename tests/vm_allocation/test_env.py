"""The world of arrivals and exits, played in the environment and replayed by the validator."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_worlds import recorded
from sysopt_gym.agents.vm_allocation.cross_entropy import rejected
from sysopt_gym.agents.vm_allocation.players import Potential
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import IllegalActionError
from sysopt_gym.core.play import Task, play_policy, run
from sysopt_gym.core.registry import contender_names, load_contender, load_problem
from sysopt_gym.datasets.vm_allocation.arrivals import requests_of
from sysopt_gym.datasets.vm_allocation.generator import generate
from sysopt_gym.datasets.vm_allocation.instance import LIFETIMES, DataCenter, life_class
from sysopt_gym.datasets.vm_allocation.settings import with_settings
from sysopt_gym.envs.vm_allocation.dynamics import CLOCK_S
from sysopt_gym.envs.vm_allocation.env import VMAllocationEnv
from sysopt_gym.envs.vm_allocation.observation import Pm
from sysopt_gym.envs.vm_allocation.packed import static_in
from sysopt_gym.envs.vm_allocation.problem import PROBLEM
from sysopt_gym.envs.vm_allocation.validate import validate
from sysopt_gym.envs.vm_allocation.vector_env import VMAllocationVectorEnv
from sysopt_gym.evaluation.judge import judge

RICH = {"pms": "6", "batch_mean": "2", "sets": "0.6", "pinned": "0.2", "law": "classes", "day": "1"}


def small(hours: str = "4", **values: str) -> DataCenter:
    """Return six hosts with batches, sets, pins and a daily rhythm."""
    return with_settings(generate(RICH, 1), {"horizon_h": hours} | values)


def played(
    center: DataCenter, world: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any], float]:
    """Play a world at random; return the actions, the last info and the return."""
    env = VMAllocationEnv(center)
    observation, info = env.reset(seed=world)
    actions, total, ended = [], 0.0, False
    while not ended:
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        observation, reward, ended, _, info = env.step(action)
        actions.append(action)
        total += reward
    return np.array(actions), info, total


def test_gymnasiums_checker_finds_nothing_to_warn_of() -> None:
    for center in (small(), small(moves_per_hour="4")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(gymnasium.make("sysopt/VMAllocation-v0", instances=center).unwrapped)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["0", "6"]), st.floats(0.0, 1.0))
def test_environment_and_validator_agree_on_every_part_of_any_play(
    world: int, moves: str, part: float
) -> None:
    center = small(moves_per_hour=moves, move_cost_h="0.2", warm_up_h="0.5", lifetimes="class")
    actions, info, total = played(center, world, np.random.default_rng(world))
    whole = judge(PROBLEM, center, actions, World(world))
    assert whole.agree and whole.feasible
    assert whole.objective == pytest.approx(info["objective"], abs=1e-9)
    asked = sum(_asked(center, world))
    capacity = float(center.numa_cpu.sum()) * (center.horizon_h - center.warm_up_h) * 3600
    assert -total * capacity / asked == pytest.approx(info["objective"], rel=1e-9)
    cut = judge(PROBLEM, center, actions[: int(part * len(actions))], World(world))
    assert cut.agree
    assert not cut.feasible or cut.objective >= whole.objective - 1e-9 or moves != "0"


def _asked(center: DataCenter, world: int) -> list[float]:
    trace = requests_of(center, world)
    horizon, warm_up = center.horizon_s, center.warm_up_h * 3600
    return [
        float(center.flavor_total[k]) * (min(leaves, horizon) - arrives)
        for request, (k, arrives, leaves) in enumerate(
            zip(trace.flavor.tolist(), trace.arrive_s.tolist(), trace.exit_s.tolist(), strict=True)
        )
        if request >= trace.starts and warm_up <= arrives < horizon
    ]


def traced(
    center: DataCenter, hosts: int, times: list[int], requests: list[int], flavors: list[int],
    **changes: Any,
) -> DataCenter:  # fmt: skip
    """Return the first hosts of a data center with a trace: times and requests of its events."""
    fields: dict[str, Any] = {
        "pm_ids": center.pm_ids[:hosts],
        "pm_rack": center.pm_rack[:hosts],
        "numa_cpu": center.numa_cpu[:hosts],
        "numa_mem": center.numa_mem[:hosts],
        "start_vms": 0,
        "event_s": np.array(times),
        "event_request": np.array(requests),
        "request_flavor": np.array(flavors),
        "request_set": np.full(len(flavors), -1),
        "request_pinned": np.zeros(len(flavors), np.bool_),
        "request_place": np.full(len(flavors), -1),
        "trace_starts": 0,
    }
    return dataclasses.replace(center, **(fields | changes))


def test_what_is_rejected_before_the_first_decision_counts_in_score_and_rewards() -> None:
    center = small()
    largest = int(np.lexsort((center.flavor_cpu, center.flavor_nodes))[-1])
    trace = traced(
        center, 1, [0, 0, 3600, 3660], [0, 1, 0, 2], [largest, largest, 0],
        request_place=np.array([0, -1, -1]), trace_starts=1,
    )  # fmt: skip
    env = VMAllocationEnv(trace)
    _, info = env.reset(seed=0)
    assert info["rejected"] == 1 and info["objective"] > 90.0
    assert judge(PROBLEM, trace, PROBLEM.null_plan(trace), World(0)).feasible
    actions, info, total = played(trace, 0, np.random.default_rng(0))
    assert judge(PROBLEM, trace, actions, World(0)).objective == pytest.approx(info["objective"])
    capacity = float(trace.numa_cpu.sum()) * trace.horizon_s
    assert -total * capacity / sum(_asked(trace, 0)) == pytest.approx(info["objective"])


class Wanderer:
    """Takes a random legal action."""

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, np.ndarray], info: dict[str, Any]) -> int:
        return int(self._rng.choice(np.flatnonzero(observation["action_mask"])))


def test_where_the_budget_ends_between_the_plies_of_a_move_the_plan_ends_before_it() -> None:
    center, shorter = small(moves_per_hour="6"), 0
    for steps in range(60, 100):
        taken = iter(range(steps + 2))
        task = Task(center, Budget(float(steps)), 1, 1)
        found = play_policy(PROBLEM, Wanderer(), task, lambda taken=taken: float(next(taken)))  # type: ignore[misc]
        assert judge(PROBLEM, center, found.actions, World(1), found.played).feasible
        shorter += len(found.actions) < steps
    assert 0 < shorter < 40


def test_empty_hosts_and_fragments_are_means_over_the_time_that_counts() -> None:
    center = small("2", warm_up_h="1")
    four_cores = int(np.flatnonzero((center.flavor_cpu == 4) & (center.flavor_nodes == 1))[0])
    trace = traced(center, 2, [60, 5400], [0, 0], [four_cores])
    assert (trace.numa_cpu == 44).all() and trace.cpu_per_core == 1
    found = judge(PROBLEM, trace, np.array([0]), World(0)).detail
    # For half of the second hour the VM is on one of two hosts. Of 44 free cores 12 make no slot of
    # 16, of 40 there are 8.
    assert found["empty_hosts"] == pytest.approx((50 + 100) / 2)
    assert found["fragment_rate"] == pytest.approx((44 / 172 + 48 / 176) / 2)
    assert found["used_cores"] == pytest.approx(100 * 4 / 176 / 2)


def test_no_plan_at_all_serves_nobody_and_is_the_plan_of_failed_runs() -> None:
    verdict = validate(small(), np.zeros(0, np.int64), World(1))
    assert verdict.feasible and verdict.objective == 100.0


def test_free_and_used_cores_are_the_hosts_at_every_step_and_no_set_shares_a_host() -> None:
    center, rng = small(moves_per_hour="10"), np.random.default_rng(3)
    env = VMAllocationEnv(center)
    observation, info = env.reset(seed=3)
    trace, ended, moved = requests_of(center, 3), False, 0
    while not ended:
        state = env.state
        there = state.slots[state.slots >= 0]
        used = center.flavor_total[trace.flavor[there]].sum()
        assert state.free_cpu.sum() + used == center.numa_cpu.sum()
        assert state.free_cpu.min() >= 0 and state.free_mem.min() >= 0
        pairs = [
            (int(trace.group[vm]), int(state.place[vm]) // 2)
            for vm in there.tolist()
            if trace.group[vm] >= 0
        ]
        assert len(set(pairs)) == len(pairs)
        free = state.free_cpu.sum()
        before = info["moves"]
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        observation, _, ended, _, info = env.step(action)
        if info["moves"] > before and not info["left"] and info["request"] < 0:
            assert env.state.free_cpu.sum() == free  # a migration frees no core and takes none
            moved += 1
    assert moved > 5


def test_what_small_vms_hold_is_what_those_that_are_there_ask_for() -> None:
    center = small("8")
    env = VMAllocationEnv(center)
    observation, info = env.reset(seed=3)
    trace, ended, rng = requests_of(center, 3), False, np.random.default_rng(0)
    where: dict[int, int] = {}
    scale = float(center.numa_cpu.sum(axis=1).max())
    while not ended:
        held = np.zeros((3, center.n_pms, 2))
        for request, place in where.items():
            k = int(trace.flavor[request])
            nodes = [0, 1] if center.flavor_nodes[k] == 2 else [place % 2]
            for row, limit in enumerate((8, 16, 32)):
                held[row, place // 2, nodes] += center.flavor_cpu[k] * (
                    center.flavor_cpu[k] < limit
                )
        seen = observation["pms"][: center.n_pms, Pm.UNDER_8_0 : Pm.UNDER_32_1 + 1]
        assert np.allclose(seen.reshape(-1, 3, 2).transpose(1, 0, 2) * scale, held)
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        if info["request"] >= 0:
            where[info["request"]] = action
        observation, _, ended, _, info = env.step(action)
        for request in info["left"]:
            del where[request]


def test_a_request_is_rejected_only_where_it_fits_nowhere() -> None:
    center = small("8")
    env = VMAllocationEnv(center)
    observation, info = env.reset(seed=1)
    trace, ended = requests_of(center, 1), False
    placed = set()
    while not ended:
        if info["request"] >= 0:
            placed.add(info["request"])
            assert observation["flavor"][0] == trace.flavor[info["request"]]
        observation, _, ended, _, info = env.step(int(observation["action_mask"].argmax()))
    arrived = np.flatnonzero(trace.arrive_s < center.horizon_s)
    counted = [request for request in arrived.tolist() if request >= trace.starts]
    assert info["rejected"] == len([request for request in counted if request not in placed])


def test_nothing_that_comes_later_is_told() -> None:
    center = small("6", lifetimes="class", moves_per_hour="3")
    first = recorded(center, 5)
    half = int(np.searchsorted(first.event_s, 3 * 3600))
    # The same until three hours: what arrives later does not, and nobody leaves.
    seen = first.event_request[:half]
    kept = int(seen.max()) + 1
    other = dataclasses.replace(
        first,
        event_s=first.event_s[:half],
        event_request=seen,
        **{
            name: getattr(first, name)[:kept]
            for name in ("request_flavor", "request_set", "request_pinned", "request_place")
        },
    )
    hidden = [with_settings(one, {"lifetimes": "hidden"}) for one in (first, other)]
    envs = [VMAllocationEnv(one, max_vms=first.n_slots) for one in hidden]
    (ours, our_info), (theirs, their_info) = (env.reset(seed=9) for env in envs)
    rng, steps = np.random.default_rng(1), 0
    while our_info["hours"] < 3.0 and their_info["hours"] < 3.0:
        assert our_info == their_info
        for key, part in ours.items():
            assert np.array_equal(part, theirs[key]), key
        action = int(rng.choice(np.flatnonzero(ours["action_mask"])))
        (ours, reward, _, _, our_info), (theirs, other_reward, _, _, their_info) = (
            env.step(action) for env in envs
        )
        # A rejection costs what is known of it by then: the lifetime comes out with its cost.
        assert (reward == 0.0) == (other_reward == 0.0) or our_info["hours"] >= 3.0
        our_info, their_info = (
            {key: part for key, part in info.items() if key != "objective"}
            for info in (our_info, their_info)
        )
        steps += 1
    assert steps > 50


def test_contenders_and_policies_get_no_trace_and_environments_keep_it() -> None:
    center = recorded(small(), 1)
    assert not PROBLEM.contender_view(center).is_traced
    assert not PROBLEM.policy_view(PROBLEM.contender_view(center)).is_traced
    assert VMAllocationEnv(center).instances[0].is_traced


@pytest.mark.parametrize("moves", ["0", "5"])
def test_an_action_masked_out_is_refused_and_changes_nothing(moves: str) -> None:
    env = VMAllocationEnv(small(moves_per_hour=moves))
    observation, _ = env.reset(seed=2)
    rng = np.random.default_rng(2)
    for _ in range(200):
        before = env.state.free_cpu.copy()
        for action in (-1, *np.flatnonzero(observation["action_mask"] == 0).tolist()[:5], 10**6):
            with pytest.raises(IllegalActionError, match="not legal"):
                env.step(action)
        assert np.array_equal(env.state.free_cpu, before)
        legal = np.flatnonzero(observation["action_mask"])
        observation, _, ended, *_ = env.step(int(rng.choice(legal)))
        if ended:
            break


def test_a_plan_that_breaks_a_rule_is_refused_by_both_halves() -> None:
    center = small("3", moves_per_hour="5")
    actions, _, _ = played(center, 4, np.random.default_rng(4))
    for step in range(0, len(actions), 7):
        for wrong in (-3, 10**6):
            broken = actions.copy()
            broken[step] = wrong
            found = judge(PROBLEM, center, broken, World(4))
            assert found.agree and not found.feasible
    longer = judge(PROBLEM, center, np.append(actions, 0), World(4))
    assert longer.agree and not longer.feasible


@pytest.mark.parametrize("moves", ["0", "4"])
def test_copies_go_their_own_way_and_play_on_alike(moves: str) -> None:
    env = VMAllocationEnv(small(moves_per_hour=moves))
    observation, _ = env.reset(seed=6)
    rng = np.random.default_rng(6)
    for _ in range(60):
        observation, *_ = env.step(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
    twins = [copy.copy(env), copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(40):
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        observation, reward, ended, _, info = env.step(action)
        for twin in twins:
            seen, its_reward, its_end, _, its_info = twin.step(action)
            assert (its_reward, its_end, its_info) == (reward, ended, info)
            assert all(np.array_equal(part, observation[key]) for key, part in seen.items())
        if ended:
            break


@pytest.mark.parametrize("kind", ["hidden", "class", "predicted", "moves", "recorded"])
def test_a_forks_future_goes_with_what_is_known_and_can_be_played_to_its_end(kind: str) -> None:
    told = {"lifetimes": kind} if kind in LIFETIMES else {"moves_per_hour": "4"}
    center = recorded(small(), 6) if kind == "recorded" else small(**told)
    env = VMAllocationEnv(center)
    observation, _ = env.reset(seed=6)
    rng = np.random.default_rng(6)
    for _ in range(60):
        observation, *_ = env.step(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
    fork = env.fork()
    world, future = static_in(env._packed), static_in(fork._packed)
    there, now = np.flatnonzero(fork.state.place >= 0), fork.state.numbers[CLOCK_S]
    for name in ("arrive_s", "flavor", "group", "pinned", "told_s"):
        assert np.array_equal(getattr(world, name)[there], getattr(future, name)[there])
    lives = (future.exit_s - future.arrive_s)[there]
    assert len(there) and (future.exit_s[there] > now).all()
    assert (np.diff(future.event_s) >= 0).all() and (np.diff(future.arrive_s) >= 0).all()
    if kind == "class":
        assert np.array_equal(life_class(lives), future.told_class[there])
    ended = False
    while not ended:
        action = int(rng.choice(np.flatnonzero(fork.action_masks())))
        _, _, ended, _, info = fork.step(action)
    assert info["hours"] == center.horizon_h and info["objective"] >= 0


@pytest.mark.parametrize("moves", ["0", "4"])
def test_lanes_are_single_environments_side_by_side(moves: str) -> None:
    center = small("2", moves_per_hour=moves)
    ours = VMAllocationVectorEnv(3, center)
    theirs = SyncVectorEnv([lambda: VMAllocationEnv(center)] * 3)
    seen, infos = ours.reset(seed=11)
    expected, their_infos = theirs.reset(seed=11)
    rng = np.random.default_rng(0)
    for _ in range(250):
        for key, part in expected.items():
            assert np.array_equal(seen[key], part), key
        assert set(infos) == set(their_infos)
        for key, part in their_infos.items():
            assert np.array_equal(infos[key], part), key
        masks = seen["action_mask"]
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        seen, rewards, ends, _, infos = ours.step(actions)
        expected, their_rewards, their_ends, _, their_infos = theirs.step(actions)
        assert np.array_equal(rewards, their_rewards) and np.array_equal(ends, their_ends)


def test_a_world_without_a_decision_ends_at_its_first_step() -> None:
    center = dataclasses.replace(small(), arrivals_per_h=0.0, start_vms=0)
    env = VMAllocationEnv(center)
    observation, _ = env.reset(seed=1)
    assert observation["action_mask"].nonzero()[0].tolist() == [0]
    _, reward, ended, _, info = env.step(0)
    assert ended and reward == 0.0 and info["objective"] == 0.0
    assert judge(PROBLEM, center, np.zeros(1, np.int64), World(1)).feasible


def test_every_contender_plays_to_the_end_and_is_judged() -> None:
    problem = load_problem("vm_allocation")
    center = small(moves_per_hour="2")
    for name in contender_names("vm_allocation"):
        contender = load_contender("vm_allocation", name)
        # Players may have to be compiled first; oracles take all that they are given.
        budget = Budget(5.0 if contender.role == "oracle" else 60.0)
        solution = run(contender, problem, Task(center, budget, 0, 5))
        found = judge(problem, center, solution.actions, World(5), solution.played)
        assert found.agree and found.feasible, name
        assert found.objective < 60.0


def test_slots_for_large_vms_let_more_in_than_first_fit() -> None:
    problem, shares = load_problem("vm_allocation"), {}
    center = with_settings(generate({}, 42), {"horizon_h": "12"})
    for name in ("first_fit", "best_fit", "slots_tuned", "potential"):
        contender = load_contender("vm_allocation", name)
        solution = run(contender, problem, Task(center, Budget(120.0), 0, 5))
        shares[name] = judge(problem, center, solution.actions, World(5)).objective
    assert shares["slots_tuned"] < shares["best_fit"] < shares["first_fit"]
    assert shares["potential"] < shares["best_fit"]


def test_a_world_played_in_compiled_code_is_the_one_that_the_policy_plays() -> None:
    problem = load_problem("vm_allocation")
    center = with_settings(generate({"pms": "20"}, 3), {"horizon_h": "12"})
    contender = load_contender("vm_allocation", "potential")
    solution = run(contender, problem, Task(center, Budget(120.0), 0, 5))
    found = judge(problem, center, solution.actions, World(5))
    assert rejected(Potential().weights, [center], [5]) == found.objective


def test_the_environment_is_made_by_its_id() -> None:
    env = gymnasium.make("sysopt/VMAllocation-v0", instances="medium-95:val/0")
    observation, _ = env.reset(seed=1)
    assert observation["pms"].shape == (100, len(Pm))
