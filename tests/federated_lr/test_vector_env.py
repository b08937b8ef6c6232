"""The vectorized environment: lane by lane what single environments give."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import IllegalActionError, SettingError, UnknownNameError
from sysopt_gym.datasets.federated_lr.instance import CURVE, Federation, make_federation
from sysopt_gym.datasets.federated_lr.splits import SETS as FEDERATIONS
from sysopt_gym.envs.federated_lr.alike import kind_of
from sysopt_gym.envs.federated_lr.grid import STAY
from sysopt_gym.envs.federated_lr.vector_env import FederatedLRVectorEnv

World = Callable[..., Federation]
ENV_ID = "sysopt/FederatedLR-v0"
LANES = 4
ROUGH = 1e-7  # relative; sums are taken in another order, and rates far too high amplify it


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
        assert np.allclose(one[key], other[key], rtol=ROUGH, atol=1e-5 if key == "rounds" else 1e-9)


def of_models(world: World, model: str) -> list[Federation]:
    """Federations whose episodes end at different steps."""
    if model == CURVE:
        law = np.array([0.3, 0.6, 0.5, 0.05, 0.8, 0.5])
        return [make_federation(f"c{r}", model=CURVE, rounds=r, law=law, beta=0.1) for r in (2, 4)]
    return [world(model, number, rounds=2 + number, beta=0.02) for number in range(3)]


@pytest.mark.parametrize("form", ["grid", "continuous"])
@pytest.mark.parametrize("model", ["logistic", "mlp", CURVE])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, deadline=None)
def test_lanes_are_single_environments_step_by_step_through_several_episodes(
    world: World, model: str, form: str, seed: int
) -> None:
    arguments = {"instances": of_models(world, model), "form": form, "server": "momentum"}
    together, apart = make("vector_entry_point", **arguments), make("sync", **arguments)
    assert isinstance(together, FederatedLRVectorEnv) and isinstance(apart, SyncVectorEnv)
    for space in ("single_observation_space", "observation_space", "action_space"):
        assert getattr(together, space) == getattr(apart, space)
    for one, other in zip(together.reset(seed=seed), apart.reset(seed=seed), strict=True):
        assert_same(one, other)
    together.action_space.seed(seed)
    (observation, _), ends = together.reset(seed=seed), 0
    apart.reset(seed=seed)
    for _ in range(12):
        assert together.observation_space.contains(observation)
        actions = together.action_space.sample()
        observation, *ours = together.step(actions)
        theirs = apart.step(actions)
        assert_same(observation, theirs[0])
        assert_same(ours[-1], theirs[-1])
        assert np.allclose(ours[0], theirs[1], rtol=1e-6, atol=1e-9)
        for mine, its in zip(ours[1:3], theirs[2:4], strict=True):
            assert mine.dtype == its.dtype and (mine == its).all()
        ends += int(ours[1].sum())
    assert ends >= LANES


def test_a_lane_that_diverges_begins_anew_while_the_others_go_on(world: World) -> None:
    env = make("vector_entry_point", 2, instances=world(rounds=40), form="continuous")
    env.reset(seed=0)
    ended_at: list[list[int]] = [[], []]
    for step in range(30):
        infos_before = env.step(np.array([[1.0, 1.0], [0.0, 0.0]]))
        _, rewards, ends, _, infos = infos_before
        for lane in np.flatnonzero(ends):
            ended_at[lane].append(step)
            assert infos["diverged"][lane] and infos["feasible"][lane] and rewards[lane] < 0
        assert np.isfinite(rewards).all()
    assert len(ended_at[0]) > 1 and not ended_at[1]


def test_gymnasiums_wrapper_counts_episodes_a_step_longer_than_their_rounds(world: World) -> None:
    env = RecordEpisodeStatistics(make("vector_entry_point", 3, instances=world(rounds=4)))
    env.reset(seed=0)
    lengths: list[int] = []
    for _ in range(12):
        *_, infos = env.step(np.full(3, STAY))
        if "episode" in infos:
            lengths += infos["episode"]["l"][infos["_episode"]].tolist()
    assert lengths == [5] * 6


def test_samples_of_the_action_space_are_always_legal(world: World) -> None:
    f = world(alpha=100.0, beta=1e-6, rounds=3)
    env = make("vector_entry_point", 20, instances=(f, world(seed=1)))
    env.action_space.seed(1)
    early = env.action_space.sample()
    observation, _ = env.reset(seed=1)
    assert observation["action_mask"][np.arange(20), early].all()
    for _ in range(10):
        actions = env.action_space.sample()
        assert observation["action_mask"][np.arange(20), actions].all()
        observation, *_ = env.step(actions)


def test_an_illegal_action_is_named_by_its_lane_and_changes_no_lane(world: World) -> None:
    env = make("vector_entry_point", 3, instances=world(alpha=100.0))
    before, infos = env.reset(seed=0)
    kept = before["rounds"].copy()
    for actions, told in (
        (np.array([STAY, STAY, 24]), "lane 2: action 24 is not legal at alpha 100"),
        (np.array([STAY, -1, STAY]), "lane 1"),
        (np.array([STAY, STAY]), "a lane a row"),
        (np.full(3, 12.0), "whole numbers"),
    ):
        with pytest.raises(IllegalActionError, match=told):
            env.step(actions)
    after, *_, later = env.step(np.full(3, STAY))
    assert (later["step"] == 1).all() and (infos["step"] == 0).all()
    assert (before["rounds"] == kept).all(), "what was returned stays as it was"
    assert (after["rounds"][:, 1] == kept[:, 0]).all()
    with pytest.raises(IllegalActionError, match="a lane a row"):
        wide = make("vector_entry_point", 3, instances=world(), form="continuous")
        wide.reset()
        wide.step(np.zeros(3))


def test_a_federation_given_at_reset_is_played_by_all_lanes(world: World) -> None:
    env = make("vector_entry_point", 3, instances=world())
    _, infos = env.reset(seed=[1, None, 3], options={"instance": world("logistic", 5, rounds=9)})
    assert (infos["rounds"] == 9).all()
    _, infos = env.reset(options={"instance": world("mlp", rounds=7)})
    assert (infos["rounds"] == 7).all()
    with pytest.raises(SettingError, match="2 seeds for 3 lanes"):
        env.reset(seed=[1, 2])
    with pytest.raises(UnknownNameError, match="reset option"):
        env.reset(options={"task": 1})


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"form": "orders"}, SettingError, 'vectorization_mode="sync"'),
        ({"form": "plies"}, UnknownNameError, "form"),
        ({"num_envs": 0}, SettingError, "num_envs is 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    world: World, arguments: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        FederatedLRVectorEnv(**({"instances": world()} | arguments))


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_lanes_of_training_are_single_environments_though_no_two_need_be_alike(mode: str) -> None:
    every = FEDERATIONS.load("mixed:train")
    unlike = {kind_of(one): replace(one, rounds=3) for one in every}.values()
    some = [*unlike][:5]
    assert len(some) == 5, "else this test could not fail"
    arguments = {"instances": some}
    together = make("vector_entry_point", 6, **arguments, autoreset_mode=mode)
    apart = make("sync", 6, **arguments, vector_kwargs={"autoreset_mode": AutoresetMode(mode)})
    together.action_space.seed(0)
    observation, infos = together.reset(seed=3)
    theirs = apart.reset(seed=3)
    assert_same(observation, theirs[0])
    assert_same(infos, theirs[1])
    played: list[set[str]] = [set() for _ in range(6)]
    ends = np.zeros(6, np.int64)
    for _ in range(20):
        for lane, instance in enumerate(together.unwrapped.instances_now):
            played[lane].add(instance.name)
        actions = together.action_space.sample()
        observation, *ours = together.step(actions)
        theirs = apart.step(actions)
        assert_same(observation, theirs[0])
        assert np.allclose(ours[0], theirs[1], rtol=1e-6, atol=1e-9)
        assert (ours[1] == theirs[2]).all()
        for key in ("objective", "step", "alpha", "validation_loss"):
            assert np.allclose(ours[-1][key], theirs[-1][key], rtol=ROUGH, atol=1e-9), key
        ends += ours[1]
    assert (ends >= 3).all() and max(map(len, played)) > 2
    now = {kind_of(one) for one in together.unwrapped.instances_now}
    assert set(together.unwrapped.dynamics._kinds) == now, "what no lane plays is not kept"


def test_a_copy_of_unlike_lanes_plays_on_alike(world: World) -> None:
    env = make("vector_entry_point", 4, instances=(world(), world("mlp"), world(batch_size=2)))
    env.reset(seed=1)
    env.step(np.full(4, STAY))
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        after, again = twin.step(np.full(4, STAY)), copy.deepcopy(env).step(np.full(4, STAY))
        assert_same(after[0], again[0])
        assert_same(after[-1], again[-1])


def test_alike_lanes_are_one_computation(world: World) -> None:
    env = make("vector_entry_point", 4, instances=(world(), world(seed=1)))
    env.reset(seed=0)
    (room,) = env.unwrapped.dynamics._kinds.values()
    together = []
    room.step = lambda orders, lanes: together.append(lanes.tolist())
    env.step(np.full(4, STAY))
    assert together == [[0, 1, 2, 3]]


def test_no_step_is_taken_before_the_first_reset(world: World) -> None:
    with pytest.raises(IllegalActionError, match="call reset"):
        FederatedLRVectorEnv(1, world()).step(np.array([STAY]))


def test_test_rows_are_in_nothing_that_it_keeps(world: World) -> None:
    f = dataclasses.replace(world(), test_inputs=np.full((2, 3), 77.25, np.float32),
                            test_labels=np.zeros(2, np.int64))  # fmt: skip
    needle = f.test_inputs.tobytes()
    assert needle in pickle.dumps(f), "else this test could not fail"
    env = make("vector_entry_point", 2, instances=(f,))
    for options in (None, {"instance": f}):
        env.reset(seed=0, options=options)
        assert all(one.sealed for one in env.unwrapped.dynamics.federations)
        assert env.spec is not None and needle not in pickle.dumps(env.spec.kwargs)
