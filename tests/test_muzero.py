"""MuZero on RLlib: its targets, its replay, and that it learns, resumes and plays remotely."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from small_game import Ladder
from sysopt_gym.agents.algorithms import quiet_ray
from sysopt_gym.agents.muzero.algorithm import MuZero, MuZeroConfig
from sysopt_gym.agents.muzero.games import POLICY, VALUE, Game
from sysopt_gym.agents.muzero.replay import (
    Place,
    SelfPlayBuffer,
    TargetSettings,
    batch_of,
    rewrite,
    targets,
)
from sysopt_gym.core.errors import SettingError
from sysopt_gym.core.notes import InputNote


def episode(rewards: list[float], found: list[float], terminated: bool) -> SingleAgentEpisode:
    """Step t saw [t], took action t % 3, and its search found `found[t]`."""
    made = SingleAgentEpisode()
    made.add_env_reset(np.zeros(1, np.float32))
    for t, (reward, value) in enumerate(zip(rewards, found, strict=True)):
        extra = {POLICY: np.eye(3, dtype=np.float32)[t % 3], VALUE: np.float32(value)}
        seen = np.array([t + 1], np.float32)
        last = terminated and t == len(rewards) - 1
        made.add_env_step(seen, t % 3, reward, terminated=last, extra_model_outputs=extra)
    return made.to_numpy()


@given(
    rewards=st.lists(st.floats(-1, 1), min_size=1, max_size=8),
    n_step=st.sampled_from([None, 1, 2, 5]),
    unroll=st.integers(0, 4),
    data=st.data(),
)
def test_values_are_rewards_to_come_and_then_what_the_search_found(
    rewards: list[float], n_step: int | None, unroll: int, data: st.DataObject
) -> None:
    found = [10.0 + t for t in range(len(rewards))]
    t = data.draw(st.integers(0, len(rewards) - 1))
    place = Place(Game.of(episode(rewards, found, True), {}), t, 1.0)
    item = targets(place, TargetSettings(unroll, n_step, 0.9))
    for k in range(unroll + 1):
        wanted, at = 0.0, t + k
        end = len(rewards) if n_step is None else min(at + n_step, len(rewards))
        for step in range(at, end):
            wanted += 0.9 ** (step - at) * rewards[step]
        if end < len(rewards):
            wanted += 0.9 ** (end - at) * found[end]
        assert item["values"][k] == pytest.approx(wanted if at < len(rewards) else 0.0, abs=1e-4)
    assert item["value_mask"].all() and item["reward_mask"].all()
    assert item["policy_mask"].sum() == min(unroll + 1, len(rewards) - t)


def test_past_the_end_of_an_unfinished_episode_nothing_is_learned() -> None:
    made = episode([1.0, 2.0, 4.0], [7.0, 8.0, 9.0], False)
    place = Place(Game.of(made, {}), 1, 1.0)
    item = targets(place, TargetSettings(3, None, 1.0))
    assert item["values"][:2].tolist() == [2.0 + 9.0, 9.0]
    assert item["value_mask"].tolist() == [1, 1, 0, 0]
    assert item["reward_mask"].tolist() == [1, 1, 0]
    assert item["rewards"][:2].tolist() == [2.0, 4.0]
    assert item["actions"][:2].tolist() == [1, 2]


def filled() -> SelfPlayBuffer:
    buffer = SelfPlayBuffer(seed=0, capacity=50, alpha=1.0, beta=1.0)
    for length in (4, 6):
        buffer.add([episode([0.0] * length, [0.0] * length, True)])
    return buffer


def test_places_are_drawn_in_proportion_to_their_priorities() -> None:
    buffer = filled()
    places = buffer.draw(400)
    wanted = {(len(p.episode), p.t) for p in places}
    assert len(wanted) == 10
    assert {place.weight for place in places} == {1.0}
    buffer.update_priorities(np.array([3.0 if p.t == 2 else 1.0 for p in places]))
    places = buffer.draw(4000)
    share = np.mean([place.t == 2 for place in places])
    assert share == pytest.approx(2 * 3 / (2 * 3 + 8), abs=0.03)
    assert {round(place.weight, 3) for place in places} == {1.0, 0.333}


def test_a_buffer_restored_draws_what_the_other_would_have_drawn() -> None:
    first, second = filled(), SelfPlayBuffer(capacity=50, alpha=1.0, beta=1.0)
    second.set_state(first.get_state())
    drawn = [[(len(p.episode), p.t) for p in buffer.draw(20)] for buffer in (first, second)]
    assert drawn[0] == drawn[1]


def test_reanalysis_replaces_what_was_found() -> None:
    buffer = filled()
    (place,) = buffer.draw_evenly(1)
    rewrite(place, np.array([0.2, 0.3, 0.5], np.float32), 4.0)
    batch = batch_of([place], TargetSettings(0, 1, 1.0))
    assert np.allclose(batch["policies"][0, 0], [0.2, 0.3, 0.5])
    assert place.episode.values[place.t] == 4.0
    assert batch["obs"].tolist() == [[place.t]]


def test_settings_that_cannot_be_trained_with_are_refused() -> None:
    for wrong in (
        {"simulations": 0},
        {"n_step": 0},
        {"unroll_steps": 0},
        {"known_model": True, "reanalyze": 10},
    ):
        with pytest.raises(SettingError):
            MuZeroConfig().environment("CartPole-v1").training(**wrong).validate()


class Priced(gym.RewardWrapper[Any, Any]):
    """The small game with rewards a hundred times as large."""

    def reward(self, reward: Any) -> float:
        return 100.0 * float(reward)


def ladder_config(**changes: Any) -> MuZeroConfig:
    """Small enough for a minute of one core."""
    settings: dict[str, Any] = {
        "simulations": 12,
        "considered": 3,
        "gamma": 1.0,
        "lr": 3e-3,
        "n_step": 3,
        "unroll_steps": 4,
        "value_support": (0.0, 1.5, 31),
        "reward_support": (0.0, 1.5, 31),
        "value_coeff": 1.0,
        "network_config": {"width": 32},
        "train_batch_size_per_learner": 64,
        "updates": 8,
        "learning_starts": 400,
    }
    return (
        MuZeroConfig()
        .environment("sysopt-test/Ladder-v0")
        .env_runners(num_envs_per_env_runner=16, rollout_fragment_length=14)
        .training(**settings | changes)
        .debugging(seed=1, log_level="ERROR")
    )


@pytest.fixture
def ladder() -> Iterator[None]:
    quiet_ray()
    torch.manual_seed(0)
    games = {"sysopt-test/Ladder-v0": Ladder, "sysopt-test/Priced-v0": lambda: Priced(Ladder())}
    for name, make in games.items():
        gym.register(name, make)
    yield
    for name in games:
        del gym.registry[name]


def play(algorithm: MuZero) -> float:
    """Mean return without exploration."""
    episodes = algorithm.env_runner.sample(num_episodes=4, explore=False)
    return float(np.mean([made.get_return() for made in episodes]))


@pytest.mark.long
def test_it_learns_the_best_play_of_the_small_game(ladder: None) -> None:
    # A stronger step of improvement and full returns: with less it may settle on a lesser line.
    algorithm = ladder_config(c_scale=0.5, n_step=None, updates=32).build_algo()
    for _ in range(36):
        result = algorithm.train()
    assert set(result["learners"]["default_policy"]) >= {"policy_loss", "value_loss", "reward_loss"}
    assert play(algorithm) == pytest.approx(1.0)
    algorithm.stop()


@pytest.mark.slow
def test_where_the_model_is_known_it_learns_to_do_better_than_greed(ladder: None) -> None:
    algorithm = ladder_config(known_model=True, unroll_steps=0, lr=1e-2).build_algo()
    for _ in range(15):
        algorithm.train()
    assert play(algorithm) > 0.6 + 1e-6
    algorithm.stop()


@pytest.mark.long
def test_it_learns_to_balance_the_pole() -> None:
    quiet_ray()
    torch.manual_seed(1)
    config = MuZeroConfig().environment("CartPole-v1").debugging(seed=1, log_level="ERROR")
    config.env_runners(num_envs_per_env_runner=16, rollout_fragment_length=16)
    config.training(
        simulations=12, considered=2, gamma=0.99, lr=3e-3, value_support=(0.0, 110.0, 31),
        reward_support=(0.0, 2.0, 11), learning_starts=500, value_coeff=0.5,
    )  # fmt: skip
    algorithm = config.build_algo()
    for _ in range(36):
        algorithm.train()
    # Random play lasts 22 steps.
    assert play(algorithm) > 120
    algorithm.stop()


@pytest.mark.slow
def test_a_restored_run_goes_on_where_it_was(ladder: None, tmp_path: Path) -> None:
    config = ladder_config(learning_starts=100, updates=2, reanalyze=32)
    algorithm = config.build_algo()
    for _ in range(2):
        algorithm.train()
    saved = algorithm.save_to_path(str(tmp_path / "run"))
    restored = MuZero.from_checkpoint(saved)
    networks = [a.get_module().network.state_dict() for a in (algorithm, restored)]
    assert all(torch.equal(networks[0][key], networks[1][key]) for key in networks[0])
    assert restored.buffer.get_num_timesteps() == algorithm.buffer.get_num_timesteps()
    learners = [a.learner_group._learner for a in (algorithm, restored)]
    steps = [learner.get_optimizer().state_dict()["state"][0]["step"] for learner in learners]
    assert steps[0] == steps[1] > 0
    restored.train()
    assert restored.training_iteration == 3
    algorithm.stop()
    restored.stop()


@pytest.mark.slow
def test_remote_runners_play_with_the_learners_weights(ladder: None) -> None:
    config = MuZeroConfig().environment("CartPole-v1")
    config.env_runners(num_env_runners=1, num_envs_per_env_runner=4, rollout_fragment_length=20)
    config.training(simulations=4, learning_starts=50, updates=1).debugging(log_level="ERROR")
    algorithm = config.build_algo()
    result = algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] >= 80

    def size(network: Any) -> float:
        return float(sum(p.detach().abs().sum() for p in network.parameters()))

    (remote,) = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: size(runner.module.network), local_env_runner=False
    )
    assert remote == pytest.approx(size(algorithm.get_module().network), rel=1e-5)
    algorithm.stop()


def test_targets_outside_the_support_are_counted_and_told_of_once(ladder: None) -> None:
    config = ladder_config(learning_starts=100, updates=2)
    config.environment("sysopt-test/Priced-v0")
    algorithm = config.build_algo()
    with pytest.warns(InputNote, match="outside") as told:
        for _ in range(3):
            result = algorithm.train()["learners"]["default_policy"]
    algorithm.stop()
    assert result["value_outside_support"] > 0.5 and result["reward_outside_support"] > 0.1
    texts = [str(one.message) for one in told]
    assert [
        sum(f"give {name}_support=" in text for text in texts) for name in ("value", "reward")
    ] == [1, 1]


def test_inside_the_support_nobody_is_told(ladder: None) -> None:
    algorithm = ladder_config(learning_starts=100, updates=2).build_algo()
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputNote)
        result = [algorithm.train() for _ in range(2)][-1]["learners"]["default_policy"]
    algorithm.stop()
    assert result["reward_outside_support"] == 0.0


def test_continuous_actions_are_refused_before_a_runner_starts() -> None:
    config = MuZeroConfig().environment("Pendulum-v1").env_runners(num_env_runners=2)
    with pytest.raises(SettingError, match=r"this one's are Box.*sac"):
        config.build_algo()


def test_the_end_of_a_time_limit_is_worth_what_the_search_found() -> None:
    made = episode([1.0, 1.0], [5.0, 7.0], False)
    made.is_truncated = True
    item = targets(Place(Game.of(made, {}), 0, 1.0), TargetSettings(0, None, 0.5))
    assert item["values"].tolist() == [1.0 + 0.5 * 7.0]
