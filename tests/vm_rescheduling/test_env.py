"""The environment's masks, rewards, ends and modes, against the dynamics and the validator."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import IllegalActionError, InstanceError, SettingError, UnknownNameError
from sysopt_gym.core.registry import load_problem
from sysopt_gym.datasets.vm_rescheduling.instance import OBJECTIVES, Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from sysopt_gym.envs.vm_rescheduling.objective import REWARD_CORES
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.evaluation.judge import judge

SEEDS = st.integers(0, 10**6)
Make = Callable[..., Cluster]
Legal = Callable[[d.Static, d.State], list[tuple[int, int, int]]]


def play_out(
    env: VMReschedulingEnv, observation: dict[str, Any], seed: int
) -> tuple[list[int], float, dict[str, Any]]:
    """Random legal plies to the end: the plies, the return, the last info."""
    rng = np.random.default_rng(seed)
    plies: list[int] = []
    total, ended, info = 0.0, False, {}
    while not ended:
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        observation, reward, ended, _, info = env.step(action)
        plies.append(action)
        total += reward
    return plies, total, info


@given(seed=SEEDS, cap=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_both_masks_are_exactly_what_the_dynamics_allow(
    tiny_cluster: Make, legal_moves: Legal, seed: int, cap: int
) -> None:
    cluster = tiny_cluster(seed, mnl=4, pm_move_cap=cap)
    static = d.make_static(cluster)
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(seed=0)
    rng = np.random.default_rng(seed)
    ended = False
    while not ended:
        legal = legal_moves(static, env.state)
        vms = {vm for vm, _, _ in legal}
        if not vms:
            assert np.flatnonzero(observation["action_mask"]).tolist() == [cluster.n_vms]
            return
        assert set(np.flatnonzero(observation["action_mask"])) == vms
        vm = int(rng.choice(sorted(vms)))
        observation, *_ = env.step(vm)
        places = {2 * pm + numa for mover, pm, numa in legal if mover == vm}
        assert set(np.flatnonzero(observation["action_mask"])) == places
        observation, _, ended, _, _ = env.step(int(rng.choice(sorted(places))))


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_an_illegal_ply_raises_and_changes_nothing(tiny_cluster: Make, seed: int) -> None:
    env = VMReschedulingEnv(tiny_cluster(seed, mnl=2))
    observation, _ = env.reset(seed=0)
    for _ in range(2):
        before = env.state
        for action in np.flatnonzero(observation["action_mask"] == 0):
            with pytest.raises(IllegalActionError):
                env.step(int(action))
        with pytest.raises(IllegalActionError):
            env.step(-1)
        assert all(np.array_equal(a, b) for a, b in zip(before, env.state, strict=True))
        legal = np.flatnonzero(observation["action_mask"])
        observation, _, ended, _, _ = env.step(int(legal[0]))
        if ended:
            return


@given(seed=SEEDS, objective=st.sampled_from(OBJECTIVES))
@settings(max_examples=40, deadline=None)
def test_an_episode_ends_with_the_validators_objective(
    tiny_cluster: Make, seed: int, objective: str
) -> None:
    cluster = tiny_cluster(seed, mnl=4, objective=objective, drain_pms=np.array([0]))
    env = VMReschedulingEnv(cluster)
    observation, info = env.reset(seed=0)
    start, free = info["objective"], env.state.totals[d.FREE]
    plies, total, info = play_out(env, observation, seed)
    if plies == [cluster.n_vms]:
        assert info["objective"] == start
        return
    verdict = validate(cluster, np.array(plies), World())
    assert verdict.feasible
    assert info["objective"] == pytest.approx(verdict.objective, abs=1e-12)
    if objective == "fragment_rate":
        assert total == pytest.approx((start - info["objective"]) * free / REWARD_CORES)


@given(seed=SEEDS, world_seed=st.integers(0, 99), elapsed_s=st.floats(0, 20))
@settings(max_examples=40, deadline=None)
def test_a_live_replay_agrees_with_the_validator_whatever_the_plan(
    tiny_cluster: Make, seed: int, world_seed: int, elapsed_s: float
) -> None:
    cluster = tiny_cluster(seed, mnl=3, mode="live")
    rng = np.random.default_rng(seed)
    plan = np.stack(
        [rng.integers(cluster.n_vms, size=12), rng.integers(2 * cluster.n_pms, size=12)], axis=1
    ).ravel()
    env = VMReschedulingEnv(cluster)
    _, info = env.reset(seed=world_seed, options={"instance": cluster, "elapsed_s": elapsed_s})
    for ply in plan:
        _, _, ended, _, info = env.step(int(ply))
        if ended:
            break
    verdict = validate(cluster, plan, World(world_seed, elapsed_s))
    assert verdict.feasible
    assert info["objective"] == pytest.approx(verdict.objective, abs=1e-12)
    assert verdict.detail is not None and info["moves"] == verdict.detail["moves"]


def test_live_without_elapsed_time_plays_like_static(tiny_cluster: Make) -> None:
    live, static = (VMReschedulingEnv(tiny_cluster(3, mnl=3, mode=m)) for m in ("live", "static"))
    first, second = (play_out(env, env.reset(seed=0)[0], 5) for env in (live, static))
    assert first == second


def test_stopping_is_an_action_only_where_it_is_allowed() -> None:
    cluster = SETS.load("small:test/0")[0]
    stop = cluster.n_vms
    observation, _ = VMReschedulingEnv(cluster).reset(seed=0)
    assert observation["action_mask"][stop] == 0
    env = VMReschedulingEnv(cluster, allow_stop=True)
    observation, before = env.reset(seed=0)
    assert observation["action_mask"][stop] == 1
    _, reward, ended, _, info = env.step(stop)
    assert ended and reward == 0.0 and info == before


@pytest.mark.parametrize("mode", ["static", "live"])
def test_a_replayed_plan_may_stop(mode: str) -> None:
    problem = load_problem("vm_rescheduling")
    cluster = problem.apply_settings(SETS.load("small:test/0")[0], {"mode": mode})
    verdict = judge(problem, cluster, np.array([cluster.n_vms]), World(0, 1.0))
    assert verdict.feasible and verdict.agree


def test_the_joint_form_makes_the_same_moves_as_the_two_plies() -> None:
    cluster = SETS.load("constrained-small:test/0")[0]
    plies, joint = VMReschedulingEnv(cluster), VMReschedulingEnv(cluster, form="joint")
    observation, _ = plies.reset(seed=0)
    together, _ = joint.reset(seed=0)
    rng, ended = np.random.default_rng(0), False
    while not ended:
        mask = observation["action_mask"][: cluster.n_vms]
        assert np.array_equal(mask, together["action_mask"][: cluster.n_vms])
        vm = int(rng.choice(np.flatnonzero(mask)))
        observation, *_ = plies.step(vm)
        places = joint.destination_mask(vm)
        assert np.array_equal(places, observation["action_mask"][: len(places)])
        dest = int(rng.choice(np.flatnonzero(places)))
        observation, reward, ended, _, info = plies.step(dest)
        together, joint_reward, joint_ended, _, joint_info = joint.step(np.array([vm, dest]))
        assert (reward, ended, info) == (joint_reward, joint_ended, joint_info)


def test_the_joint_form_refuses_a_destination_without_room() -> None:
    cluster = SETS.load("small:test/0")[0]
    env = VMReschedulingEnv(cluster, form="joint")
    env.reset(seed=0)
    vm = int(np.argmax(cluster.flavor_cpu[cluster.vm_flavor]))
    for dest in np.flatnonzero(env.destination_mask(vm) == 0):
        with pytest.raises(IllegalActionError, match="destination_mask"):
            env.step((vm, dest))


def test_sampled_actions_are_legal_in_both_forms() -> None:
    for form in ("plies", "joint"):
        env = VMReschedulingEnv("constrained-small:test", form=form)
        env.reset(seed=1)
        for _ in range(60):
            if env.step(env.action_space.sample())[2]:
                env.reset()


def test_spaces_travel_by_pickle_and_stay_equal() -> None:
    for form in ("plies", "joint"):
        env = VMReschedulingEnv("small:val", form=form)
        copy = pickle.loads(pickle.dumps(env.action_space))
        assert copy == env.action_space
        assert copy.sample() in env.action_space


def test_reset_keeps_the_spaces_and_draws_by_seed() -> None:
    env = VMReschedulingEnv("small:val")
    space = env.observation_space
    names = [env.reset(seed=s)[1] and env.cluster.name for s in (1, 2, 3, 1, 2, 3)]
    assert names[:3] == names[3:] and len(set(names)) > 1
    assert env.observation_space is space


def test_an_instance_beyond_the_padding_is_refused_with_the_remedy() -> None:
    env = VMReschedulingEnv("small:test")
    large = SETS.load("lookalike:test/0")[0]
    with pytest.raises(InstanceError, match=f"max_pms={large.n_pms}"):
        env.reset(options={"instance": large})
    room = VMReschedulingEnv("small:test", max_pms=large.n_pms, max_vms=large.n_vms)
    observation, _ = room.reset(options={"instance": large})
    assert observation["vm_mask"].sum() == large.n_vms


def test_settings_reach_the_instances() -> None:
    env = VMReschedulingEnv("small:test", settings={"mnl": "1"})
    observation, _ = env.reset(seed=0)
    plies, _, info = play_out(env, observation, 0)
    assert len(plies) == 2 and info["moves"] == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"form": "three"}, SettingError),
        ({"render_mode": "ansi"}, SettingError),
        ({"settings": {"mln": "5"}}, UnknownNameError),
        ({"instances": "smal:train"}, UnknownNameError),
        ({"instances": []}, InstanceError),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        VMReschedulingEnv(**arguments)


def test_an_episode_that_is_over_takes_no_ply() -> None:
    cluster = SETS.load("small:test/0")[0]
    env = VMReschedulingEnv(cluster, settings={"mnl": "1"})
    observation, _ = env.reset(seed=0)
    play_out(env, observation, 0)
    with pytest.raises(IllegalActionError, match="call reset"):
        env.step(0)


def test_rendering_shows_the_move_just_made() -> None:
    env = VMReschedulingEnv("small:test", render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    for _ in range(2):
        env.step(env.action_space.sample())
    after = env.render()
    assert before.shape == after.shape and before.dtype == np.uint8
    assert (before != after).any()
