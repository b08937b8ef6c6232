"""MuZero's value and policy share their layers: neither drowns the other."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.checkpoints import SHIPPED, load_policy
from sysopt_gym.agents.configuration import load_config
from sysopt_gym.agents.muzero.family import FamilyNetwork
from sysopt_gym.agents.muzero.module import MuZeroModule
from sysopt_gym.benchmarks.muzero_balance import PARTS, shared_norms
from sysopt_gym.core.registry import load_problem


def module_of(family: str, env: gym.Env[Any, Any]) -> tuple[MuZeroModule, Any]:
    """The module that a family begins with by its configuration, and the settings there."""
    config = load_config(f"{family}_alphazero", {})
    training = config.reinforcement["alphazero"].algorithm["training"]
    weights, card = load_policy(SHIPPED / config.start, load_problem(family))
    model = {
        "network": FamilyNetwork,
        "network_config": {"family": family, "width": card.width, "weights": weights},
        "search": {"simulations": 6, "considered": 4, "discount": 1.0,
                   "c_scale": training["c_scale"]},
        "value_support": training["value_support"],
        "reward_support": training["reward_support"],
        "seed": 0,
    }  # fmt: skip
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    return MuZeroModule(**spaces, model_config=model), training


def self_play(module: MuZeroModule, env: Any, steps: int) -> dict[str, Any]:
    """Steps of play by searches in the game itself, as a batch of replay.batch_of."""
    played: list[list[Any]] = []
    while len(played) < steps:
        seen, _ = env.reset(seed=len(played))
        rewards, ended, first = [], False, len(played)
        while not ended:
            obs = {key: torch.from_numpy(part[None]) for key, part in seen.items()}
            module.simulators = lambda: [env.unwrapped]
            found = module.search(obs, True)
            played.append([seen, found.policy[0]])
            seen, reward, ended, *_ = env.step(int(found.action[0]))
            rewards.append(reward)
        for row, gain in zip(played[first:], np.cumsum(rewards[::-1])[::-1], strict=True):
            row.append(gain)
    observations, policies, values = zip(*played[:steps], strict=True)
    count = len(values)
    return {
        "obs": stack(observations),
        "policies": torch.from_numpy(np.stack(policies)).unsqueeze(1),
        "values": torch.tensor(values, dtype=torch.float32).unsqueeze(1),
        "policy_mask": torch.ones(count, 1),
        "value_mask": torch.ones(count, 1),
        "actions": torch.zeros(count, 0, dtype=torch.int64),
        "rewards": torch.zeros(count, 0),
        "reward_mask": torch.zeros(count, 0),
        "weights": torch.ones(count),
    }


@pytest.mark.parametrize(
    ("family", "instances"), [("federated_lr", "small:test"), ("vm_rescheduling", "small:train")]
)
def test_value_and_policy_pull_alike_at_the_layers_that_both_train(
    family: str, instances: str
) -> None:
    """By the family's own configuration, where its training begins."""
    place = f"sysopt_gym:{load_problem(family).env_id}"
    with gym.make(place, disable_env_checker=True, instances=instances) as env:
        torch.manual_seed(0)
        module, training = module_of(family, env)
        norms = shared_norms(module, training["value_coeff"], self_play(module, env, 48))
    policy, value = (norms[part] for part in PARTS)
    assert 0.1 < value / policy < 10, norms


def test_a_familys_value_is_where_the_logits_begin_and_what_they_teach() -> None:
    """Before training the search sees what the policy's own value says; then both learn."""
    with gym.make("sysopt_gym:sysopt/FederatedLR-v0", instances="small:test") as env:
        module, _ = module_of("federated_lr", env)
        seen, _ = env.reset(seed=0)
    obs = {key: torch.from_numpy(part[None]) for key, part in seen.items()}
    network = module.network
    root = network.initial(obs)
    own = network.policy.value(network.policy.encode(obs))
    said = module.value_support.expected(root.value)
    assert said.item() == pytest.approx(own.item(), abs=0.02)
    module.value_support.loss(root.value, own + 1.0).mean().backward()
    assert network.value[-1].bias.grad.norm() > 0
    assert network.policy.worth.bias.grad < 0  # descending it raises the value
