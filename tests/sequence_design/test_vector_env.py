"""The vectorized environment: lane by lane what single environments give."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import IllegalActionError, InstanceError, SettingError, UnknownNameError
from sysopt_gym.datasets.sequence_design.generator import generate
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.envs.sequence_design.designs import best_offline
from sysopt_gym.envs.sequence_design.dynamics import feasible
from sysopt_gym.envs.sequence_design.vector_env import SequenceDesignVectorEnv

Tiny = Callable[..., DesignTask]
ENV_ID = "sysopt/SequenceDesign-v0"
LANES = 7


def make(mode: str, lanes: int = LANES, **arguments: Any) -> VectorEnv[Any, Any, Any]:
    """Made by Gymnasium, which must have nothing to warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return gymnasium.make_vec(ENV_ID, num_envs=lanes, vectorization_mode=mode, **arguments)


def assert_same(one: Any, other: Any) -> None:
    """Two batches of observations or infos hold the same values in the same types."""
    assert one.keys() == other.keys()
    for key in one:
        assert one[key].dtype == other[key].dtype, key
        assert one[key].shape == other[key].shape, key
        assert (one[key] == other[key]).all(), key


@given(seed=st.integers(0, 10**6), designs=st.sampled_from([None, 1, 3]))
@settings(max_examples=8, deadline=None)
def test_lanes_are_single_environments_step_by_step_through_several_episodes(
    tiny_task: Tiny, seed: int, designs: int | None
) -> None:
    tasks = tuple(tiny_task(number, 4) for number in (0, 1, 2))
    arguments = {"instances": tasks, "designs": designs, "kappa": 0.5}
    together, apart = make("vector_entry_point", **arguments), make("sync", **arguments)
    assert isinstance(together, SequenceDesignVectorEnv) and isinstance(apart, SyncVectorEnv)
    assert together.single_observation_space == apart.single_observation_space
    assert together.observation_space == apart.observation_space
    assert together.action_space == apart.action_space
    for one, other in zip(together.reset(seed=seed), apart.reset(seed=seed), strict=True):
        assert_same(one, other)
    rng = np.random.default_rng(seed)
    (ours, _), ends = together.reset(seed=seed), 0
    apart.reset(seed=seed)
    while ends < 3:
        assert together.observation_space.contains(ours)
        # Few letters, so that designs repeat; after an end all are masked out and none is taken.
        chances = ours["action_mask"] * rng.choice([1.0, 1e-3], (LANES, 6)) * rng.random((LANES, 6))
        ours, *ours_rest = together.step(chances.argmax(axis=1))
        theirs, *theirs_rest = apart.step(chances.argmax(axis=1))
        assert_same(ours, theirs)
        assert_same(ours_rest[-1], theirs_rest[-1])
        for mine, its in zip(ours_rest[:3], theirs_rest[:3], strict=True):
            assert mine.dtype == its.dtype and (mine == its).all()
        ends += bool(ours_rest[1].all())


def test_designs_handed_in_that_pad_the_batch_are_not_counted_twice(tiny_task: Tiny) -> None:
    task = tiny_task(2)
    known = best_offline(task, 4)
    plan = known[[3, 3, 0, 1, 3]].ravel()
    together, apart = (make(mode, 2, instances=task) for mode in ("vector_entry_point", "sync"))
    together.reset(seed=0)
    apart.reset(seed=0)
    for letter in plan:
        *_, ours = together.step(np.full(2, letter))
        *_, theirs = apart.step(np.full(2, letter))
        assert_same(ours, theirs)
    assert ours["uniques"].tolist() == [3, 3] and ours["designs"].tolist() == [5, 5]


def test_the_step_after_an_end_begins_the_next_episode_whatever_its_actions(
    tiny_task: Tiny,
) -> None:
    env = make("vector_entry_point", 3, instances=tiny_task(0), designs=1)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, _ = env.reset(seed=0)
    for _ in range(6):
        final, rewards, terminations, truncations, infos = env.step(env.action_space.sample())
    assert terminations.all() and not truncations.any() and rewards.all()
    assert (final["progress"] == 1.0).all() and (final["action_mask"].sum(axis=1) == 1).all()
    assert feasible(final["tokens"], tiny_task(0).banned).all()
    task = tiny_task(0)
    assert [task.text(row) for row in final["tokens"]] == infos["sequence"].tolist()
    begun, rewards, terminations, _, infos = env.step(np.full(3, 99))
    assert not rewards.any() and not terminations.any() and not infos["designs"].any()
    assert_same({k: begun[k] for k in ("tokens", "progress", "action_mask")},
                {k: first[k] for k in ("tokens", "progress", "action_mask")})  # fmt: skip


def test_gymnasiums_wrappers_count_episodes_as_long_as_their_designs(tiny_task: Tiny) -> None:
    env = RecordEpisodeStatistics(make("vector_entry_point", 4, instances=tiny_task(0), designs=2))
    env.reset(seed=0)
    lengths: list[int] = []
    for _ in range(2 * (2 * 6 + 1)):
        *_, infos = env.step(env.action_space.sample())
        if "episode" in infos:
            lengths += infos["episode"]["l"].tolist()
    assert lengths == [12] * 8
    listed = DictInfoToList(make("vector_entry_point", 2, instances=tiny_task(0)))
    _, lanes = listed.reset(seed=0)
    assert [lane["designs"] for lane in lanes] == [0, 0]


def test_samples_of_the_action_space_are_always_legal(tiny_task: Tiny) -> None:
    env = make("vector_entry_point", 20, instances=(tiny_task(0), tiny_task(1)))
    observation, _ = env.reset(seed=1)
    env.action_space.seed(1)
    assert (env.action_space.sample() < 6).all()
    env.reset(seed=1)
    for _ in range(30):
        actions = env.action_space.sample()
        assert observation["action_mask"][np.arange(20), actions].all()
        observation, *_ = env.step(actions)


def test_an_illegal_letter_is_named_and_changes_no_lane(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    first, second = (int(letter) for letter in np.argwhere(task.banned)[0])
    env = make("vector_entry_point", 3, instances=task)
    env.reset(seed=0)
    before, *_ = env.step(np.full(3, first))
    for actions, told in (
        (np.array([first, second, first]), f"letter {second} is not legal at position 1"),
        (np.array([first, first, 6]), "letter 6"),
        (np.array([first, first]), "a lane a row"),
        (np.full(3, 0.5), "whole numbers"),
    ):
        with pytest.raises(IllegalActionError, match=told):
            env.step(actions)
    after, *_ = env.step(np.full(3, first))
    assert (before["tokens"][:, 1:] == task.letters).all(), "what was returned stays as it was"
    assert (after["tokens"][:, :2] == first).all() and (after["tokens"][:, 2:] == 6).all()


def test_a_task_given_at_reset_is_played_by_all_lanes(tiny_task: Tiny) -> None:
    env = make("vector_entry_point", 3, instances=(tiny_task(0), tiny_task(1)))
    _, alone = make("vector_entry_point", 1, instances=tiny_task(2)).reset()
    _, infos = env.reset(seed=[1, None, 3], options={"instance": tiny_task(2)})
    assert (infos["objective"] == alone["objective"]).all()
    with pytest.raises(InstanceError, match="an environment for each kind"):
        env.reset(options={"instance": generate({"rows": "256", "length": "9"}, 0)})
    with pytest.raises(SettingError, match="2 seeds for 3 lanes"):
        env.reset(seed=[1, 2])
    with pytest.raises(UnknownNameError, match="reset option"):
        env.reset(options={"task": 1})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"form": "mutate"}, 'vectorization_mode="sync"'),
        ({"form": "batch"}, 'vectorization_mode="sync"'),
        ({"num_envs": 0}, "num_envs is 0"),
        ({"designs": 0}, "designs is 0"),
        ({"designs": 10**6}, "cannot pad a batch of 1000000; set designs="),
        ({"kappa": np.nan}, "kappa"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    tiny_task: Tiny, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingError, match=told):
        SequenceDesignVectorEnv(**({"instances": tiny_task(0)} | arguments)).reset()


def test_tasks_of_different_batches_need_a_number_of_designs(tiny_task: Tiny) -> None:
    tasks = (tiny_task(0), dataclasses.replace(tiny_task(1), batch_size=3))
    with pytest.raises(SettingError, match=r"different sizes, \[3, 5\]; set designs"):
        SequenceDesignVectorEnv(instances=tasks)
    SequenceDesignVectorEnv(instances=tasks, designs=2).reset(seed=0)


def test_no_step_is_taken_before_the_first_reset(tiny_task: Tiny) -> None:
    with pytest.raises(IllegalActionError, match="call reset"):
        SequenceDesignVectorEnv(instances=tiny_task(0)).step(np.zeros(1, np.int64))


def test_the_oracle_is_in_nothing_that_a_worker_is_sent(tiny_task: Tiny) -> None:
    task = tiny_task(5)
    env = make("vector_entry_point", instances=(task,))
    env.reset(seed=0, options={"instance": task})
    sent = pickle.dumps(env)
    assert b'"landscape"' not in sent and b"motifs" not in sent
    assert '"landscape"' in task.oracle, "else this test could not fail"
    pickle.loads(sent).reset(seed=0)
