"""Vectorized environments of every family are, lane by lane and to the bit, what Gymnasium's
SyncVectorEnv gives of single ones, in all of its autoreset modes.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from sysopt_gym.core.errors import IllegalActionError, InstanceError, SettingError
from sysopt_gym.core.registry import load_problem
from sysopt_gym.datasets.sequence_design.generator import generate
from sysopt_gym.envs.sequence_design.proxy import fit
from sysopt_gym.envs.vector import FamilyVectorEnv

LANES = 5
Vector = VectorEnv[Any, Any, Any]
MODES = [mode.value for mode in AutoresetMode]


def clusters() -> tuple[Any, ...]:
    """Clusters of unlike sizes, with and without deployment sets."""
    sets = load_problem("vm_rescheduling").sets
    plain, constrained = sets.load("small:test"), sets.load("constrained-small:test")
    return *plain[:2], *constrained[:2]


def tasks() -> tuple[Any, ...]:
    """Two small tasks."""
    return tuple(generate({"rows": "256", "length": "9"}, seed) for seed in (0, 1))


# Family, the environment's arguments, and steps that end several episodes.
KINDS: dict[str, tuple[str, Callable[[], dict[str, Any]], int]] = {
    "vm": ("vm_rescheduling", lambda: {"instances": clusters(), "allow_stop": True}, 120),
    "memory": ("memory_mapping", lambda: {"instances": "small:train"}, 250),
    "memory terminate": (
        "memory_mapping",
        lambda: {"instances": "small:train", "settings": {"dead_end": "terminate"}},
        150,
    ),
    "sequence": ("sequence_design", lambda: {"instances": tasks(), "designs": 2}, 60),
    "federated": ("federated_lr", lambda: {"instances": "curves:val"}, 70),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, mode: str = "vector_entry_point", lanes: int = LANES, **more: Any) -> Any:
    """Made by Gymnasium, which must have nothing to warn of."""
    family, arguments, _ = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return gymnasium.make_vec(load_problem(family).env_id, lanes, mode, **(arguments() | more))


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Two nested results hold the same values in the same types and shapes."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif one is None:
        assert other is None, where
    else:
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        if one.dtype == object and where.endswith("final_obs"):
            for mine, its in zip(one, other, strict=True):
                assert_same(mine, its, where)
        else:
            assert np.array_equal(one, other), where


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Iterator[None]:
    """Proxies are good enough for these tests after few steps; none is kept for other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "FEWEST_STEPS", 20)
        patch.setattr(fit, "REFERENCE_STEPS", 20)
        patch.setattr(fit, "_REFERENCE", {})
        yield


@kinds
@pytest.mark.parametrize("autoreset", MODES)
def test_lanes_are_single_environments_to_the_bit(kind: str, autoreset: str) -> None:
    family, arguments, steps = KINDS[kind]
    together: Vector = make(kind, autoreset_mode=autoreset)
    apart = gymnasium.make_vec(
        load_problem(family).env_id,
        LANES,
        "sync",
        vector_kwargs={"autoreset_mode": AutoresetMode(autoreset)},
        **arguments(),
    )
    assert isinstance(together, FamilyVectorEnv)
    assert together.metadata["autoreset_mode"] == apart.metadata["autoreset_mode"]
    for space in ("single_observation_space", "observation_space", "action_space"):
        assert getattr(together, space) == getattr(apart, space)
    together.action_space.seed(1)
    ends = np.zeros(LANES, np.bool_)
    count = 0
    for number, (mine, its) in enumerate(
        zip(together.reset(seed=7), apart.reset(seed=7), strict=True)
    ):
        assert_same(mine, its, f"reset {number}")
    for step in range(steps):
        if autoreset == "Disabled" and ends.any():
            ours, theirs = (env.reset(options={"reset_mask": ends}) for env in (together, apart))
            assert_same(ours[0], theirs[0], f"{step} reset")
            assert_same(ours[1], theirs[1], f"{step} reset infos")
        actions = together.action_space.sample()
        seen = together.step(actions)
        for number, (mine, its) in enumerate(zip(seen, apart.step(actions), strict=True)):
            assert_same(mine, its, f"{step} result {number}")
        assert seen[0]["action_mask"].any(axis=1).all()
        assert together.observation_space.contains(seen[0])
        ends = seen[2]
        count += int(ends.sum())
    assert count > LANES


@kinds
def test_what_is_returned_is_the_callers_own(kind: str) -> None:
    env, untouched = make(kind), make(kind)
    env.action_space.seed(0)
    env.reset(seed=0)
    untouched.reset(seed=0)
    for _ in range(12):
        actions = env.action_space.sample()
        seen = env.step(actions)
        assert_same(seen[0], untouched.step(actions)[0])
        for part in (*seen[0].values(), *seen[1:4], *seen[4].values()):
            part.fill(0)


@kinds
def test_each_lane_tells_which_instance_it_plays(kind: str) -> None:
    together, apart = make(kind), make(kind, "sync")
    for _ in range(3):
        together.reset(seed=11)
        apart.reset(seed=11)
        playing = [one.name for one in apart.get_attr("instance")]
        assert [one.name for one in together.instances_now] == playing


@pytest.mark.parametrize("kind", ["vm", "memory", "sequence", "federated"])
def test_gymnasiums_own_vectorized_environments_say_how_to_draw_legal_actions(kind: str) -> None:
    env = make(kind, "sync", 3)
    observation, _ = env.reset(seed=0)
    with pytest.raises(IllegalActionError, match=r'sample\(mask=tuple\(observation\["action_mask'):
        env.action_space.sample()
    for _ in range(20):
        actions = env.action_space.sample(mask=tuple(observation["action_mask"]))
        observation, *_ = env.step(actions)


def test_a_batch_of_joint_actions_says_how_to_draw_them() -> None:
    env = make("vm", "sync", 2, form="joint")
    env.reset(seed=0)
    with pytest.raises(IllegalActionError, match="the action_space of each environment"):
        env.action_space.sample()
    env.step(np.array([one.action_space.sample() for one in env.envs]))


@pytest.mark.parametrize("kind", ["vm", "memory"])
def test_an_illegal_action_is_named_by_its_lane_and_changes_no_lane(kind: str) -> None:
    env, untouched = make(kind, lanes=3), make(kind, lanes=3)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    untouched.reset(seed=0)
    for _ in range(4):
        legal = env.action_space.sample()
        for wrong in (np.flatnonzero(observation["action_mask"][1] == 0)[0], 10**6, -1):
            with pytest.raises(IllegalActionError, match=f"lane 1.*{wrong} is not legal"):
                env.step(np.where([False, True, False], wrong, legal))
        for malformed in (legal[:2], legal.astype(float), legal[:, None]):
            with pytest.raises(IllegalActionError, match="whole numbers of shape"):
                env.step(malformed)
        observation = env.step(legal)[0]
        assert_same(observation, untouched.step(legal)[0])


def test_without_autoreset_a_lane_that_ended_takes_no_action() -> None:
    env = make("sequence", autoreset_mode="Disabled")
    env.reset(seed=0)
    ends = np.zeros(LANES, np.bool_)
    while not ends.any():
        ends = env.step(env.action_space.sample())[2]
    with pytest.raises(IllegalActionError, match=r"lanes \[0, 1, 2, 3, 4\] are over.*reset_mask"):
        env.step(env.action_space.sample())


@pytest.mark.parametrize(
    "mask", [np.ones(3, np.bool_), np.ones(LANES, np.int8), np.zeros(LANES, np.bool_)]
)
def test_a_reset_mask_is_of_bools_and_names_a_lane(mask: np.ndarray) -> None:
    env = make("memory")
    with pytest.raises(SettingError, match="no episode has begun"):
        env.reset(options={"reset_mask": mask})
    env.reset(seed=0)
    with pytest.raises(SettingError, match=r"reset_mask is of bool \[5\]"):
        env.reset(options={"reset_mask": mask})


def test_designs_that_grow_together_are_reset_together() -> None:
    env = make("sequence")
    env.reset(seed=0)
    with pytest.raises(SettingError, match="begin and end together"):
        env.reset(options={"reset_mask": np.arange(LANES) == 0})


def test_arguments_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(SettingError, match=r"autoreset_mode 'never'.*NextStep, SameStep, Disabled"):
        make("memory", autoreset_mode="never")
    with pytest.raises(SettingError, match=r'form .joint. has no vectorized.*mode="sync"'):
        make("vm", form="joint")


def test_an_instance_given_at_reset_is_played_by_all_lanes_whatever_its_size() -> None:
    problem = load_problem("memory_mapping")
    small, large = problem.sets.load("small:train")[0], problem.sets.load("synthetic:train")[0]
    env, apart = (make("memory", mode, instances=small) for mode in ("vector_entry_point", "sync"))
    env.reset(seed=0)
    for options in ({"instance": large}, {"instance": small}):
        ours, theirs = env.reset(seed=1, options=options), apart.reset(seed=1, options=options)
        assert_same(ours[0], theirs[0])
        assert_same(ours[1], theirs[1])
        assert [one.name for one in env.instances_now] == [options["instance"].name] * LANES
    cluster = load_problem("vm_rescheduling").sets.load("lookalike:val")[0]
    with pytest.raises(InstanceError, match="max_pms="):
        make("vm").reset(options={"instance": cluster})


@pytest.mark.parametrize("kind", ["vm", "memory"])
def test_gymnasiums_wrapper_counts_episodes(kind: str) -> None:
    env = RecordEpisodeStatistics(make(kind, autoreset_mode="SameStep"))
    env.reset(seed=0)
    returns, episodes = np.zeros(LANES), 0
    for _ in range(KINDS[kind][2]):
        _, rewards, ends, _, infos = env.step(env.action_space.sample())
        returns += rewards
        if ends.any():
            assert np.allclose(infos["episode"]["r"][ends], returns[ends])
            assert np.isfinite(infos["final_info"]["objective"][ends]).all()
            episodes += int(ends.sum())
            returns[ends] = 0.0
    assert episodes > LANES


@pytest.mark.parametrize("kind", ["vm", "memory"])
def test_a_copied_action_space_is_not_tied_to_the_environment(kind: str) -> None:
    env = make(kind)
    env.reset(seed=0)
    with pytest.raises(IllegalActionError, match="do not know"):
        copy.deepcopy(env.action_space).sample()
    assert env.single_action_space.contains(env.single_action_space.sample())


@kinds
def test_lanes_are_drawn_as_single_environments_are(kind: str) -> None:
    together: Vector = make(kind, lanes=2, render_mode="rgb_array")
    apart: Vector = make(kind, "sync", 2, render_mode="rgb_array")
    together.action_space.seed(0)
    together.reset(seed=0)
    apart.reset(seed=0)
    for _ in range(9):
        actions = together.action_space.sample()
        together.step(actions)
        apart.step(actions)
        pictures: Any = together.render()
        for picture, alone in zip(pictures, apart.render(), strict=True):  # type: ignore[arg-type]
            assert np.array_equal(picture, alone)


def test_a_window_for_many_lanes_is_refused() -> None:
    with pytest.raises(SettingError, match="rgb_array"):
        make("memory", render_mode="human")


@pytest.mark.parametrize("kind", ["vm", "memory"])
def test_rllib_samples_from_all_lanes_and_knows_whose_objective_it_is(kind: str) -> None:
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
    from sysopt_gym.agents.objective_metric import log_objective
    from sysopt_gym.agents.rl_module import PolicyModule

    family, arguments, _ = KINDS[kind]
    problem = load_problem(family)
    network = {"family": family, "width": 8}
    config = (
        PPOConfig()
        .environment(f"sysopt_gym:{problem.env_id}", env_config=arguments())
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=3,
            gym_env_vectorize_mode="vector_entry_point",
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=PolicyModule, model_config=network))
    )
    instances = make(kind).unwrapped.instances
    names = {one.content_hash: one.name for one in instances}
    config.callbacks(on_episode_end=partial(log_objective, sets=names))
    runner = SingleAgentEnvRunner(config=config)
    assert isinstance(runner.env.unwrapped, FamilyVectorEnv)
    episodes = [one for one in runner.sample(num_episodes=4) if one.is_done]
    ends = [one.get_infos(-1)["objective"] for one in episodes]
    assert len(ends) >= 4
    assert runner.metrics.peek("objective") == pytest.approx(np.mean(ends))
    by_set = runner.metrics.peek("objective_by_set")
    assert by_set and set(by_set) <= set(names.values())
    assert min(ends) <= min(by_set.values()) and max(by_set.values()) <= max(ends)
