"""What every family's environment has from its base: copies that play on, options that are refused,
settings from one table, and a record of how it was made that tells contenders nothing.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import sysopt_gym  # noqa: F401 (registers the environments)
from sysopt_gym.core.errors import IllegalActionError, SettingError, SysOptError, UnknownNameError
from sysopt_gym.core.registry import FAMILIES, load_problem
from sysopt_gym.datasets.federated_lr.splits import SETS as FEDERATIONS
from sysopt_gym.datasets.memory_mapping.splits import SETS as PROGRAMS
from sysopt_gym.datasets.sequence_design.splits import SETS as TASKS
from sysopt_gym.envs.base import FamilyEnv
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.vector_env import FederatedLRVectorEnv
from sysopt_gym.envs.memory_mapping.env import MallocGameEnv
from sysopt_gym.envs.memory_mapping.vector_env import MallocGameVectorEnv
from sysopt_gym.envs.sequence_design.env import SequenceDesignEnv
from sysopt_gym.envs.sequence_design.vector_env import SequenceDesignVectorEnv
from sysopt_gym.envs.sequence_parallelism.env import SequenceParallelismEnv
from sysopt_gym.envs.vector import FamilyVectorEnv
from sysopt_gym.envs.vm_allocation.env import VMAllocationEnv
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from sysopt_gym.envs.vm_rescheduling.vector_env import VMReschedulingVectorEnv

SINGLE: dict[str, Callable[..., FamilyEnv[Any]]] = {
    "vm plies": lambda **k: VMReschedulingEnv("constrained-small:test", **k),
    "vm joint": lambda **k: VMReschedulingEnv("small:test", "joint", **k),
    "vm live": lambda **k: VMReschedulingEnv("small:test", settings={"mode": "live"}, **k),
    "memory backup": lambda **k: MallocGameEnv("small:test", **k),
    "memory reserve": lambda **k: MallocGameEnv("small:test", settings={"dead_end": "reserve"}),
    "sequence construct": lambda **k: SequenceDesignEnv(designs=3, **k),
    "sequence mutate": lambda **k: SequenceDesignEnv(form="mutate", designs=3, edits=4, **k),
    "sequence batch": lambda **k: SequenceDesignEnv(form="batch", designs=3, **k),
    "federated grid": lambda **k: FederatedLREnv("small:test", **k),
    "federated continuous": lambda **k: FederatedLREnv("small:test", "continuous", **k),
    "federated orders": lambda **k: FederatedLREnv("small:test", "orders", **k),
    "federated curve": lambda **k: FederatedLREnv("curves:val", **k),
    "parallelism": lambda **k: SequenceParallelismEnv("small:test", **k),
    "parallelism shortlist": lambda **k: SequenceParallelismEnv("small:test", "shortlist", **k),
    "allocation": lambda **k: VMAllocationEnv("medium-95:val", settings={"horizon_h": "2"}, **k),
    "allocation with moves": lambda **k: VMAllocationEnv(
        "medium-95:val", settings={"horizon_h": "2", "moves_per_hour": "30"}, **k
    ),
    "allocation with classes": lambda **k: VMAllocationEnv(
        "medium-95:val", settings={"horizon_h": "2", "lifetimes": "class"}, **k
    ),
    "allocation with predictions": lambda **k: VMAllocationEnv(
        "medium-95:val", settings={"horizon_h": "2", "lifetimes": "predicted"}, **k
    ),
}
# Worlds that are left to chance: a fork draws a future of its own, other copies keep the world's.
CHANCE = [
    kind for kind in SINGLE
    if kind == "sequence mutate" or kind.startswith(("federated", "allocation"))
    if kind != "federated curve"
]  # fmt: skip
VECTOR: dict[str, Callable[[], FamilyVectorEnv[Any]]] = {
    "vm": lambda: VMReschedulingVectorEnv(3, "small:test", allow_stop=True),
    "memory": lambda: MallocGameVectorEnv(3, "small:test"),
    "sequence": lambda: SequenceDesignVectorEnv(3, designs=2),
    "federated": lambda: FederatedLRVectorEnv(3, "small:test/0"),
    "federated curve": lambda: FederatedLRVectorEnv(3, "curves:val", "continuous"),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    "fork": lambda env: env.fork(),
    "copy": copy.copy,
}
MOST_STEPS = 60
EARLY = {"batch": 0, "orders": 1}  # forms whose random episodes are over after a step or two
families = pytest.mark.parametrize("family", list(FAMILIES))
copies = pytest.mark.parametrize(
    ("kind", "how"),
    [(kind, how) for kind in SINGLE for how in COPIES if how != "fork" or kind not in CHANCE],
)
single = pytest.mark.parametrize("kind", list(SINGLE))


def same(one: Any, other: Any) -> bool:
    """Whether two nested results are equal, arrays included."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


def play(env: Any, steps: int) -> list[Any]:
    """Up to so many steps of actions that the environment's own space draws."""
    seen = []
    for _ in range(steps):
        action = env.action_space.sample()
        seen.append((action, env.step(action)))
        if np.all(seen[-1][1][2]):
            break
    return seen


def middle(env: Any) -> Any:
    """The environment after some steps of an episode."""
    env.action_space.seed(3)
    env.action_space.sample()
    env.reset(seed=4)
    few = isinstance(env, FederatedLREnv | FamilyVectorEnv)
    play(env, EARLY.get(getattr(env, "form", ""), 3 if few else 7))
    return env


@copies
def test_a_copy_made_in_the_middle_plays_on_as_the_original_does(kind: str, how: str) -> None:
    env = middle(SINGLE[kind]())
    twin = COPIES[how](env)
    seen = play(env, MOST_STEPS)
    for action, after in seen:
        assert same(twin.step(action), after)
    if how in ("deepcopy", "pickle"):
        assert same(twin.reset(seed=8), env.reset(seed=8))
        assert same(twin.reset(), env.reset())


@copies
def test_what_a_copy_plays_does_not_reach_the_original(kind: str, how: str) -> None:
    env = middle(SINGLE[kind]())
    first = play(copy.deepcopy(env), MOST_STEPS)
    twin = COPIES[how](env)
    for action, _ in first:
        twin.step(action)
    for action, after in first:
        assert same(env.step(action), after)


def after_each(env: Any, actions: list[Any]) -> list[Any]:
    """What comes of the actions, up to one that is not legal in this future."""
    seen = []
    for action in actions:
        try:
            seen.append(env.step(action))
        except IllegalActionError:
            break
    return seen


@pytest.mark.parametrize("kind", CHANCE)
def test_a_planner_that_believes_its_fork_does_not_foretell_the_world(kind: str) -> None:
    env = middle(SINGLE[kind]())
    forks = [env.fork() for _ in range(4)]
    deeper, kept = forks[0].fork(), [how(env) for name, how in COPIES.items() if name != "fork"]
    for twin in (*forks, deeper):
        assert same(twin._observation(), env._observation()) and same(twin.report(), env.report())
    seen = play(env, MOST_STEPS)
    actions, world = [action for action, _ in seen], [after for _, after in seen]
    assert all(same(after_each(twin, actions), world) for twin in kept)
    foretold = [after_each(fork, actions) for fork in forks]
    assert not all(same(one, world) for one in foretold)
    assert not all(same(one, foretold[0]) for one in foretold)
    assert same(foretold[0], after_each(deeper, actions))


@pytest.mark.parametrize("kind", CHANCE)
def test_planning_changes_nothing_in_the_world_and_is_drawn_by_its_seed(kind: str) -> None:
    env, twin = middle(SINGLE[kind]()), middle(SINGLE[kind]())
    actions = [action for action, _ in play(copy.deepcopy(env), MOST_STEPS)]
    planned = [after_each(one.fork(), actions) for one in (env, twin)]
    assert same(*planned)
    env.fork()
    assert same(after_each(env, actions), after_each(twin, actions))
    assert same(env.reset(), twin.reset())


@pytest.mark.parametrize("kind", ["vm plies", "vm joint", "memory backup", "federated grid"])
def test_the_samples_of_a_copys_space_are_legal_for_the_copy(kind: str) -> None:
    env = middle(SINGLE[kind]())
    twin = copy.deepcopy(env)
    play(env, 3)
    play(twin, MOST_STEPS)  # an illegal sample would raise
    copy.copy(env)
    play(env, MOST_STEPS)


@pytest.mark.parametrize("kind", list(VECTOR))
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copied_vectorized_environment_plays_on_over_episodes(kind: str, how: str) -> None:
    env = middle(VECTOR[kind]())
    twin = COPIES[how](env)
    for _ in range(MOST_STEPS):
        actions = env.action_space.sample()
        assert same(twin.step(actions), env.step(actions))
        twin.action_space.sample()


@families
def test_a_copied_environment_of_gymnasiums_make_plays_on(family: str) -> None:
    env = gymnasium.make(load_problem(family).env_id)
    env.action_space.seed(0)
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    for action, after in play(env, 20):
        assert same(twin.step(action), after)


def test_a_deep_copy_shares_the_instances_that_never_change() -> None:
    env = middle(SINGLE["federated grid"]())
    assert copy.deepcopy(env).instances[0] is env.instances[0]


def test_a_start_is_kept_for_the_instance_and_not_for_its_place_in_memory() -> None:
    programs = PROGRAMS.load("small:test")
    env = MallocGameEnv(programs)
    for program in programs[:4] * 3:
        env.instances = [dataclasses.replace(program)]  # where one before it was
        assert same(env.reset(seed=0), MallocGameEnv(program).reset(seed=0))


@single
def test_an_environment_that_was_not_reset_can_be_copied_and_takes_no_action(kind: str) -> None:
    env = SINGLE[kind]()
    for twin in (env, copy.deepcopy(env), env.fork()):
        with pytest.raises(IllegalActionError, match="call reset"):
            twin.step(0)


@families
def test_an_unknown_reset_option_is_refused(family: str) -> None:
    env = gymnasium.make(load_problem(family).env_id).unwrapped
    with pytest.raises(UnknownNameError, match="instances"):
        env.reset(options={"instances": None})


@pytest.mark.parametrize("kind", [*list(SINGLE), *(f"{name} lanes" for name in VECTOR)])
def test_only_a_live_world_takes_the_seconds_that_have_passed(kind: str) -> None:
    env = VECTOR[kind.removesuffix(" lanes")]() if kind.endswith(" lanes") else SINGLE[kind]()
    options = {"instance": env.instances[0], "elapsed_s": 1.0}
    if kind == "vm live":
        env.reset(seed=0, options=options)
    else:
        with pytest.raises((UnknownNameError, SettingError), match="elapsed_s"):
            env.reset(seed=0, options=options)


@families
def test_what_may_be_set_with_set_may_be_set_on_the_environment(family: str) -> None:
    problem = load_problem(family)
    for name in problem.settings:
        with pytest.raises(SysOptError) as caught:
            gymnasium.make(problem.env_id, settings={name: "no such value"})
        assert f"unknown {family} setting" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="setting"):
        gymnasium.make(problem.env_id, settings={"colour": "red"})


@pytest.mark.parametrize("arguments", list(itertools.product((True, False), (True, False))))
def test_nothing_that_the_judge_alone_may_know_can_be_reached(arguments: tuple[bool, bool]) -> None:
    vector, alone = arguments
    for env_id, whole, hidden in (
        (
            "sysopt/SequenceDesign-v0",
            TASKS.load("ehrlich:small")[0],
            ("hidden_sequences", "oracle"),
        ),
        (
            "sysopt/FederatedLR-v0",
            FEDERATIONS.load("small:test")[0],
            ("test_inputs", "test_labels"),
        ),
    ):
        given = whole if alone else [whole]
        if vector:
            env = gymnasium.make_vec(env_id, 2, "vector_entry_point", instances=given)
        else:
            env = gymnasium.make(env_id, instances=given)
        env.reset(seed=0, options={"instance": whole})
        bare: Any = env.unwrapped
        assert env.spec is not None
        for kept in (*bare.instances, *env.spec.kwargs["instances"]):
            for name in hidden:
                part = getattr(kept, name)
                assert len(part) == 0 and getattr(part, "base", None) is None, name
