"""The contracts every family keeps; a new family is tested by being registered."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import sysopt_gym
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import IllegalActionError
from sysopt_gym.core.lookup import resolve
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.problem import Problem
from sysopt_gym.core.registry import (
    FAMILIES,
    contender_entry,
    contender_names,
    load_contender,
    load_problem,
    own_family,
)
from sysopt_gym.evaluation.judge import judge

families = pytest.mark.parametrize("family", FAMILIES)
ENVIRONMENTS = [own_family(family).env_id for family in FAMILIES]
SEEDS = st.integers(0, 10**6)
HEAVY = ("torch", "ray", "matplotlib")
# What playing an environment loads of these all the same: its dynamics train models.
NEEDED: dict[str, list[str]] = {"sysopt/FederatedLR-v0": ["torch"]}


def make(problem: Problem[Any], **arguments: Any) -> gymnasium.Env[Any, Any]:
    """The family's environment on its warm-up instance."""
    instances = (problem.warm_up_instance(),)
    return gymnasium.make(
        problem.env_id, instances=instances, disable_env_checker=True, **arguments
    )


def play_out(env: gymnasium.Env[Any, Any], seed: int) -> tuple[list[Any], list[Any]]:
    """Random legal actions to the end: the actions, and all that came back. Without a mask, every
    action of the space is legal.
    """
    rng = np.random.default_rng(seed)
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    actions, seen, ended = [], [(observation, info)], False
    while not ended:
        if "action_mask" in observation:
            action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        else:
            action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        actions.append(action)
        seen.append((observation, reward, terminated, truncated, info))
    return actions, seen


def plan_of(problem: Problem[Any], seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A random legal episode in the form that plans are made of: the plan and the last info."""
    actions, seen = play_out(make(problem, **problem.env_arguments), seed)
    return np.array(actions), seen[-1][-1]


def same(one: Any, other: Any) -> bool:
    """Whether two nested results are equal, arrays included."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


@families
def test_every_family_has_its_environment_registered(family: str) -> None:
    assert load_problem(family).env_id in ENVIRONMENTS
    assert load_problem(family).env_id in gymnasium.registry


@families
def test_every_contender_is_where_its_table_says(family: str) -> None:
    defaults = load_problem(family).defaults
    assert {*defaults.contenders, *defaults.always, defaults.baseline} <= {*contender_names(family)}
    for name in contender_names(family):
        assert callable(resolve(contender_entry(family, name).place)), name


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_gymnasiums_checker_finds_nothing_to_warn_of(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(env_id).unwrapped)


@families
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_the_same_seed_gives_the_same_episode(family: str, seed: int) -> None:
    problem = load_problem(family)
    assert same(play_out(make(problem), seed), play_out(make(problem), seed))


@families
@given(seed=SEEDS)
@settings(max_examples=8, deadline=None)
def test_masked_in_actions_never_raise_and_masked_out_ones_always_do(
    family: str, seed: int
) -> None:
    env = make(load_problem(family))
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    ended = False
    while not ended:
        mask = observation["action_mask"]
        illegal = np.flatnonzero(mask == 0)
        for action in rng.permutation(illegal)[:20]:
            with pytest.raises(IllegalActionError):
                env.step(int(action))
        action = int(rng.choice(np.flatnonzero(mask)))
        observation, _, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated


@families
def test_doing_nothing_is_a_plan_too(family: str) -> None:
    problem = load_problem(family)
    instance = problem.warm_up_instance()
    assert judge(problem, instance, problem.null_plan(instance), World()).feasible


@families
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_copies_go_their_own_way_from_the_same_state(family: str, seed: int) -> None:
    env = make(load_problem(family)).unwrapped
    actions, seen = play_out(env, seed)
    env.reset(seed=seed)
    half = len(actions) // 2
    for action in actions[:half]:
        env.step(action)
    by_chance = env.problem.is_random(env.instance)  # a fork then has a future of its own
    for twin in (*([] if by_chance else [env.fork(), env.fork()]), *map(copy.copy, [env] * 2), env):
        after = [twin.step(action) for action in actions[half:]]
        assert same(after, seen[half + 1 :])


@families
@given(seed=SEEDS)
@settings(max_examples=8, deadline=None)
def test_a_replay_gives_the_episodes_objective(family: str, seed: int) -> None:
    problem = load_problem(family)
    plan, info = plan_of(problem, seed)
    verdict = judge(problem, problem.warm_up_instance(), plan, World(seed))
    assert verdict.agree and verdict.feasible
    found = problem.validate(problem.warm_up_instance(), plan, World(seed))
    known = found.objective if found.replayed is None else found.replayed
    assert known == pytest.approx(info["objective"], abs=1e-9)


@families
@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_environment_and_validator_agree_on_corrupted_plans(family: str, seed: int) -> None:
    problem = load_problem(family)
    plan, _ = plan_of(problem, seed)
    rng = np.random.default_rng(seed)
    for _ in range(int(rng.integers(1, 3))):
        how, at = rng.integers(4), int(rng.integers(len(plan)))
        if how == 0:
            plan.flat[rng.integers(plan.size)] = rng.integers(-1, plan.max() + 3)
        elif how == 1:
            plan = np.delete(plan, at, axis=0)
        elif how == 2:
            plan = np.insert(plan, at, plan[int(rng.integers(len(plan)))], axis=0)
        else:
            plan = np.concatenate([plan, plan[:2]])
        if len(plan) == 0:
            return
    assert judge(problem, problem.warm_up_instance(), plan, World(seed)).agree


@families
def test_environment_and_validator_agree_on_the_contenders_that_are_in_every_table(
    family: str,
) -> None:
    problem = load_problem(family)
    instance = problem.warm_up_instance()
    for name in problem.defaults.always:
        contender = load_contender(family, name)
        # A search takes all it is given; a policy ends with the episode.
        budget = Budget(60.0 if contender.form == "player" else 0.2)
        solution = run(contender, problem, Task(instance, budget, seed=0, world_seed=0))
        verdict = judge(problem, instance, solution.actions, World())
        assert verdict.agree and verdict.feasible, name


@families
def test_an_instance_survives_its_file_with_its_hash(family: str, tmp_path: Path) -> None:
    problem = load_problem(family)
    instance = problem.warm_up_instance()
    instance.save(tmp_path / "instance.npz")
    again = problem.instance_type.load(tmp_path / "instance.npz")
    assert again.content_hash == instance.content_hash
    assert problem.load_file(tmp_path / "instance.npz", {}).content_hash == instance.content_hash


@families
def test_an_instances_hash_is_the_same_in_another_process(family: str) -> None:
    code = (
        "from sysopt_gym import load_problem;"
        f"print(load_problem({family!r}).warm_up_instance().content_hash)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == load_problem(family).warm_up_instance().content_hash


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_playing_an_environment_loads_no_heavy_package_that_it_does_not_need(env_id: str) -> None:
    code = (
        "import sys, json, gymnasium, sysopt_gym;"
        f"env = gymnasium.make({env_id!r}); observation, _ = env.reset(seed=0);"
        "env.step(int(observation['action_mask'].argmax()));"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == NEEDED.get(env_id, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "runners"), [*((family, 0) for family in FAMILIES), (next(iter(FAMILIES)), 1)]
)
def test_ppo_trains_by_the_module_prefixed_id(family: str, runners: int) -> None:
    from sysopt_gym.agents.algorithms import quiet_ray

    quiet_ray()
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from sysopt_gym.agents.rl_module import PolicyModule

    problem = load_problem(family)
    spec = RLModuleSpec(module_class=PolicyModule, model_config={"family": family, "width": 8})
    config = (
        PPOConfig()
        .environment(
            f"{sysopt_gym.__name__}:{problem.env_id}",
            env_config={"instances": (problem.warm_up_instance(),)},
        )
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=2)
        .rl_module(rl_module_spec=spec)
        .training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=1)
        .debugging(seed=0, log_level="ERROR")
    )
    algorithm = config.build_algo()
    try:
        for _ in range(2):
            result = algorithm.train()
        assert np.isfinite(result["learners"]["default_policy"]["total_loss"])
        assert result["env_runners"]["num_env_steps_sampled_lifetime"] >= 64
    finally:
        algorithm.stop()
