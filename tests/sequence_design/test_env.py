"""The environment: forms, rewards, and that the oracle cannot be reached from it."""

from __future__ import annotations

import gc
import pickle
import warnings
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import IllegalActionError, InstanceError, SettingError, UnknownNameError
from sysopt_gym.datasets.sequence_design.generator import generate
from sysopt_gym.datasets.sequence_design.instance import DesignTask, seal
from sysopt_gym.envs.sequence_design.designs import best_offline
from sysopt_gym.envs.sequence_design.dynamics import feasible
from sysopt_gym.envs.sequence_design.env import SequenceDesignEnv
from sysopt_gym.envs.sequence_design.proxy import reference_proxy

Tiny = Callable[..., DesignTask]
SEEDS = st.integers(0, 10**6)
FORMS = ("construct", "mutate", "batch")
HANDLE = '"landscape"'


def play(env: SequenceDesignEnv, seed: int) -> tuple[list[float], dict[str, Any], list[np.ndarray]]:
    """A random legal episode: rewards, the last info, and the designs handed in."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    env.action_space.episode_begins()
    rewards, ended, info = [], False, {}
    while not ended:
        _, reward, ended, _, info = env.step(env.action_space.sample())
        rewards.append(reward)
    return rewards, info, env.handed_in.unique


@pytest.mark.parametrize("form", FORMS)
def test_gymnasiums_checker_finds_nothing_to_warn_of_in_any_form(
    tiny_task: Tiny, form: str
) -> None:
    env = gymnasium.make(
        "sysopt/SequenceDesign-v0", instances=(tiny_task(0),), form=form, disable_env_checker=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@given(seed=SEEDS)
@settings(max_examples=6, deadline=None)
@pytest.mark.parametrize("form", FORMS)
def test_designs_are_feasible_and_rewards_add_up_to_the_proxys_values(
    tiny_task: Tiny, form: str, seed: int
) -> None:
    task, kappa = tiny_task(1), 0.5
    env = SequenceDesignEnv(task, form=form, kappa=kappa)
    rewards, info, designs = play(env, seed)
    rows = np.stack(designs)
    assert feasible(rows, task.banned).all()
    assert info["designs"] == task.batch_size and info["uniques"] == len(designs)
    total = reference_proxy(task).pessimistic(rows, kappa).sum()
    if form == "construct":
        assert len(rewards) == task.batch_size * task.length
        assert sum(rewards) == pytest.approx(total)
    elif form == "batch":
        assert rewards == [pytest.approx(total / task.batch_size)]
    else:
        starts = best_offline(task, 10**6)
        values = reference_proxy(task).pessimistic(starts, kappa)
        low, high = values.min() * task.batch_size, values.max() * task.batch_size
        assert low - 1e-9 <= total - sum(rewards) <= high + 1e-9


def test_a_repeat_earns_nothing_and_is_padded(tiny_task: Tiny) -> None:
    task = tiny_task(2)
    env = SequenceDesignEnv(task)
    env.reset(seed=0)
    design = best_offline(task, 3)[2]
    earned = [env.step(int(letter))[1] for _ in range(2) for letter in design]
    (value,) = reference_proxy(task).pessimistic(design[None], 0.0)
    assert earned[task.length - 1] == pytest.approx(value)
    assert earned[-1] == 0.0
    batch = env.handed_in.batch()
    assert len(batch) == len(np.unique(batch, axis=0)) == task.batch_size
    assert (batch[0] == design).all()
    assert (batch[1:] == best_offline(task, 6)[[0, 1, 3, 4]]).all()


def test_without_a_design_the_objective_is_that_of_the_best_measured(tiny_task: Tiny) -> None:
    task = tiny_task(3)
    _, info = SequenceDesignEnv(task).reset(seed=0)
    means, _ = reference_proxy(task).predict(best_offline(task, task.batch_size))
    assert info["objective"] == np.median(means)


def test_edits_that_change_nothing_or_break_a_ban_are_masked_and_raise(tiny_task: Tiny) -> None:
    task = tiny_task(4)
    env = SequenceDesignEnv(task, form="mutate", edits=4)
    observation, _ = env.reset(seed=1)
    for edit in range(task.length * task.letters):
        place, letter = divmod(edit, task.letters)
        tokens = observation["tokens"].copy()
        tokens[place] = letter
        legal = letter != observation["tokens"][place] and feasible(tokens[None], task.banned)[0]
        assert observation["action_mask"][edit] == legal
        if not legal:
            with pytest.raises(IllegalActionError, match="choose among"):
                env.step(edit)
    assert observation["action_mask"][-1] == 1
    _, reward, *_ = env.step(len(observation["action_mask"]) - 1)
    assert reward == 0.0 and env.handed_in.count == 1


def test_a_mutated_design_is_handed_in_when_its_edits_are_spent(tiny_task: Tiny) -> None:
    task = tiny_task(4)
    env = SequenceDesignEnv(task, form="mutate", edits=2)
    observation, _ = env.reset(seed=1)
    for _ in range(2):
        assert env.handed_in.count == 0
        observation, *_ = env.step(int(observation["action_mask"].argmax()))
    assert env.handed_in.count == 1
    assert (observation["tokens"] == observation["start"]).all()


def test_episodes_of_single_designs_are_for_training(tiny_task: Tiny) -> None:
    env = SequenceDesignEnv(tiny_task(0), designs=1)
    rewards, info, _ = play(env, 0)
    assert len(rewards) == 6 and info["designs"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"form": "grow"}, "unknown form"),
        ({"kappa": -1.0}, "kappa"),
        ({"designs": 0}, "designs is 0"),
        ({"edits": 0}, "edits is 0"),
        ({"render_mode": "ascii"}, "render_mode"),
        ({"settings": {"size": "3"}}, "unknown sequence_design setting"),
        ({"instances": ()}, "no instances"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    tiny_task: Tiny, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises((SettingError, UnknownNameError, InstanceError), match=told):
        SequenceDesignEnv(**({"instances": tiny_task(0)} | arguments))


def test_tasks_of_different_shapes_need_environments_of_their_own(tiny_task: Tiny) -> None:
    other = generate({"rows": "256", "states": "6", "length": "9"}, 0)
    with pytest.raises(InstanceError, match="an environment for each kind"):
        SequenceDesignEnv((tiny_task(0), other))
    env = SequenceDesignEnv(tiny_task(0))
    with pytest.raises(InstanceError, match="an environment for each kind"):
        env.reset(options={"instance": other})


def reachable(root: Any) -> list[Any]:
    """Every object that can be got to from one by attributes, items and closures, classes,
    functions and modules left out, through which everything leads everywhere.
    """
    found: dict[int, Any] = {}
    open_ = [root]
    while open_:
        one = open_.pop()
        if id(one) in found or isinstance(one, (type, ModuleType, FunctionType)):
            continue
        found[id(one)] = one
        open_ += gc.get_referents(one)
        if len(found) > 200_000:
            raise AssertionError("the walk does not end")
    return list(found.values())


@pytest.mark.parametrize("given", ["made", "made directly", "at reset"])
def test_the_oracle_cannot_be_reached_from_the_environment(tiny_task: Tiny, given: str) -> None:
    """By any path of attributes from the unwrapped environment, or in what a worker is sent."""
    task = tiny_task(5)
    if given == "made directly":
        env: Any = SequenceDesignEnv((task,))
    else:
        first = task if given == "made" else seal(task)
        env = gymnasium.make("sysopt/SequenceDesign-v0", instances=(first,)).unwrapped
    env.reset(seed=0, options={"instance": task} if given == "at reset" else None)
    env.step(0)
    held = [one for one in reachable(env.__dict__) if isinstance(one, (DesignTask, str))]
    tasks = [one for one in held if isinstance(one, DesignTask)]
    assert tasks and all(one.sealed and len(one.hidden_scores) == 0 for one in tasks)
    assert not any(HANDLE in one for one in held if isinstance(one, str))
    sent = pickle.dumps(env)
    assert HANDLE.encode() not in sent and b"motifs" not in sent
    assert HANDLE in task.oracle, "else this test could not fail"
    copy = pickle.loads(sent)
    assert all(one.sealed for one in copy.instances)
    copy.reset(seed=0)
    copy.step(0)


def test_the_picture_shows_the_designs_so_far(tiny_task: Tiny) -> None:
    env = SequenceDesignEnv(tiny_task(0), render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(0)
    assert before.shape == env.render().shape == (640, 960, 3)
    assert (before == 255).all() and not (env.render() == 255).all()
