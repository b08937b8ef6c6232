"""Batches of large observations are cut, those of others left alone."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig
from sysopt_gym.agents import rl_module, room
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.rl_module import PolicyModule
from sysopt_gym.agents.room import BATCH, PASS, PASS_PER_BYTE, bytes_of, fit
from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy
from sysopt_gym.core.notes import told_to
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv


def space(size: int) -> gym.Space:
    return gym.spaces.Dict(
        {
            "rows": gym.spaces.Box(0.0, 1.0, (size // 4 - 2, 1), np.float32),
            "flags": gym.spaces.MultiBinary(8),
        }
    )


def ppo() -> PPOConfig:
    config = PPOConfig().env_runners(num_env_runners=2, num_envs_per_env_runner=16)
    return config.training(train_batch_size_per_learner=1024, minibatch_size=128)


def test_the_size_of_an_observation_is_that_of_its_arrays() -> None:
    env = VMReschedulingEnv("small:train/0")
    seen, _ = env.reset(seed=0)
    assert bytes_of(env.observation_space) == sum(array.nbytes for array in seen.values())


def test_what_fits_is_left_alone() -> None:
    config, told = ppo(), []
    with told_to(told.append):
        fit(config, space(100_000), "ppo.algorithm")
    assert told == []
    assert config.train_batch_size_per_learner == 1024 and config.minibatch_size == 128


def test_a_batch_of_observations_of_ten_megabytes_is_cut_and_told_of() -> None:
    size, told = 11_000_000, []
    config = ppo()
    with told_to(told.append):
        fit(config, space(size), "ppo.algorithm")
    assert config.train_batch_size_per_learner * size <= BATCH
    assert 2 * config.minibatch_size * size * PASS_PER_BYTE > PASS  # no smaller than need be
    for rows in (config.minibatch_size, config.num_envs_per_env_runner):
        assert rows * size * PASS_PER_BYTE <= PASS
    assert "11.0 MB" in told[0] and "minibatch_size 2" in told[0]
    config.validate()


def test_without_minibatches_the_whole_batch_passes_at_once() -> None:
    config = DQNConfig().env_runners(rollout_fragment_length=64)
    config.training(train_batch_size_per_learner=64)
    with told_to(lambda line: None):
        fit(config, space(11_000_000), "dqn.algorithm")
    assert config.train_batch_size_per_learner == 2
    assert config.rollout_fragment_length * config.num_envs_per_env_runner * 11_000_000 <= BATCH


def test_values_computed_in_turns_are_those_computed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env, passes = VMReschedulingEnv("small:train"), []
    batch = stack([env.reset(seed=seed)[0] for seed in range(7)])
    network = RelationalPolicy(8)
    encode = network.encode
    monkeypatch.setattr(
        network, "encode", lambda part: passes.append(len(part["pms"])) or encode(part)
    )
    module = SimpleNamespace(network=network)
    at_once = PolicyModule._values_of(module, batch)
    monkeypatch.setattr(rl_module, "rows_of_a_pass", lambda size: 3)
    in_turns = PolicyModule._values_of(module, batch)
    assert passes == [7, 3, 3, 1]
    assert torch.allclose(at_once, in_turns, atol=1e-6)
    assert room.rows_of_a_pass(11_000_000) == 2
