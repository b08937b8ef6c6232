"""Games of self-play: every observation comes back as it was seen, in a fraction of the room."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from sysopt_gym.agents.muzero.games import POLICY, VALUE, Game, Sparse, Track, observations
from sysopt_gym.agents.muzero.replay import SelfPlayBuffer
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv

Seen = list[dict[str, np.ndarray]]


def played(env: Any, parts: int, seed: int) -> tuple[list[SingleAgentEpisode], Seen]:
    """An episode of random moves, in parts as a runner hands them in, and all that was seen."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    made, seen, ended = SingleAgentEpisode(), [observation], False
    made.add_env_reset(observation)
    handed_in = []
    while not ended:
        legal = np.flatnonzero(observation["action_mask"])
        action = int(rng.choice(legal))
        policy = np.zeros(len(observation["action_mask"]), np.float32)
        policy[legal] = rng.random(len(legal))
        observation, reward, ended, _, _ = env.step(action)
        searched = {POLICY: policy, VALUE: np.float32(reward)}
        made.add_env_step(
            observation, action, reward, terminated=ended, extra_model_outputs=searched
        )
        seen.append(observation)
        if len(made) == parts and not ended:
            later = made.cut()
            handed_in.append(made.to_numpy())
            made = later
    return [*handed_in, made.to_numpy()], seen


def check_seen(game: Game, seen: Seen) -> None:
    steps = range(len(seen))
    batch = observations([(game, step) for step in steps])
    for key, arrays in batch.items():
        assert arrays.dtype == seen[0][key].dtype
        for step in steps:
            assert np.array_equal(arrays[step], seen[step][key]), (key, step)


def test_a_game_in_parts_shows_every_observation_as_it_was_seen() -> None:
    env = VMReschedulingEnv("small:train/0")
    parts, seen = played(env, 4, seed=0)
    assert len(parts) > 3
    game = Game.of(parts[0], {})
    for part in parts[1:]:
        game.concat_episode(Game.of(part, {}))
    check_seen(game, seen)
    policies = np.concatenate([part.get_extra_model_outputs(POLICY) for part in parts])
    assert np.array_equal(game.policies.rows(0, len(game)), policies)
    assert game.rewards.sum() == sum(part.get_return() for part in parts)
    assert game.is_terminated


def test_a_step_takes_a_fraction_of_its_observation_and_starts_are_shared() -> None:
    env = VMReschedulingEnv("small:train/0")
    buffer = SelfPlayBuffer(seed=0, capacity=10_000, alpha=1.0)
    empty = len(pickle.dumps(buffer.get_state()))
    for seed in range(4):
        parts, seen = played(env, 16, seed)
        for part in parts:
            buffer.add([part])
    size = sum(array.nbytes for array in seen[0].values())
    steps = buffer.get_num_timesteps()
    assert (len(pickle.dumps(buffer.get_state())) - empty) / steps < size / 8
    starts = [game.observations["vms"].first for game in buffer.episodes]
    assert len({id(start) for start in starts}) == 1
    again = SelfPlayBuffer(seed=0, capacity=10_000, alpha=1.0)
    again.set_state(pickle.loads(pickle.dumps(buffer.get_state())))
    starts = [game.observations["vms"].first for game in again.episodes]
    assert len({id(start) for start in starts}) == 1
    check_seen(again.episodes[-1], seen)


# Steps of an array: which of its numbers change, and to what; any part of it, or all.
arrays = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0, 0, 0, 1, 7]), min_size=n, max_size=n), min_size=2, max_size=30
    )
)


@given(rows=arrays, dtype=st.sampled_from([np.int8, np.float32, np.int32]), cut=st.integers(1, 29))
def test_any_arrays_come_back_in_one_track_and_in_two(rows: Any, dtype: Any, cut: int) -> None:
    wanted = np.array(rows, dtype)
    cut = min(cut, len(wanted) - 1)
    track = Track.of(wanted[: cut + 1])
    track.extend(Track.of(wanted[cut:]))
    got = np.empty_like(wanted)
    for step in range(len(wanted)):
        track.write(step, got[step])
    assert np.array_equal(got, wanted)


def test_what_is_put_together_for_a_step_is_bounded_however_long_the_game() -> None:
    rng = np.random.default_rng(0)
    wanted = np.zeros((2000, 100), np.float32)
    for step in range(1, len(wanted)):  # two of a hundred numbers change at a step
        wanted[step] = wanted[step - 1]
        wanted[step, rng.integers(100, size=2)] = rng.random(2)
    track = Track.of(wanted[:10])
    for first in range(9, 1999, 10):
        track.extend(Track.of(wanted[first : first + 11]))
    got = np.empty(100, np.float32)
    track.write(1999, got)
    assert np.array_equal(got, wanted[1999])
    starts = [0, *track.whole_at.tolist(), 1999]
    longest = max(track.ends[b] - track.ends[a] for a, b in itertools.pairwise(starts))
    assert longest <= 2 * 100


@given(
    rows=st.lists(st.lists(st.sampled_from([0.0, 0.5]), min_size=9, max_size=9), min_size=1),
    at=st.integers(0, 50),
    new=st.lists(st.sampled_from([0.0, 2.0]), min_size=9, max_size=9),
)
def test_a_row_is_replaced_among_the_others(rows: Any, at: int, new: list[float]) -> None:
    wanted = np.array(rows, np.float32)
    kept, at = Sparse.of(wanted), at % len(wanted)
    kept.replace(at, np.array(new, np.float32))
    wanted[at] = new
    assert np.array_equal(kept.rows(0, len(wanted)), wanted)
    assert np.array_equal(kept.rows(at, at + 1)[0], wanted[at])
