"""Several learners: each takes a part of the batch, and all have the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
import torch
from sysopt_gym.agents.algorithms import build_algorithm
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.rl_module import PolicyModule
from sysopt_gym.core.registry import load_problem
from torch import distributed

SHORT: dict[str, dict[str, Any]] = {
    "ppo": {"train_batch_size_per_learner": 32, "minibatch_size": 16, "num_epochs": 1},
    "alphazero": {"simulations": 2, "considered": 2, "learning_starts": 8, "updates": 2,
                  "train_batch_size_per_learner": 8},
    "sac": {"num_steps_sampled_before_learning_starts": 16, "train_batch_size_per_learner": 8},
}  # fmt: skip


@pytest.fixture
def group() -> Iterator[None]:
    """A group of one process, as a learner among others is in one."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def gradients_of(env: gym.Env[Any, Any], family: str) -> dict[str, torch.Tensor | None]:
    """Gradients of the sum of a policy's outputs, by parameter."""
    torch.manual_seed(0)
    module = PolicyModule(
        observation_space=env.observation_space,
        action_space=env.action_space,
        model_config={"family": family, "width": 8},
    )
    seen, _ = env.reset(seed=0)
    outputs = module.forward_train({"obs": stack([seen])})["action_dist_inputs"]
    outputs.sum().backward()
    return {name: part.grad for name, part in module.network.named_parameters()}


def test_a_loss_reaches_every_parameter_where_learners_wait_for_it(
    request: pytest.FixtureRequest,
) -> None:
    """Also those that the form of the actions has no use for, whose gradient is 0."""
    instances, family = "small:test/0", "federated_lr"
    with gym.make("sysopt_gym:sysopt/FederatedLR-v0", instances=instances) as env:
        alone = gradients_of(env, family)
        assert alone["worth.weight"] is None
        request.getfixturevalue("group")
        among_others = gradients_of(env, family)
    for name, gradient in among_others.items():
        assert gradient is not None
        own = alone[name]
        assert torch.equal(gradient, torch.zeros_like(gradient) if own is None else own)


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "family", "instances", "environment"),
    [
        ("ppo", "sequence_design", "ehrlich:small/0", {"designs": 1}),
        ("ppo", "federated_lr", "small:test/0", {}),
        ("sac", "federated_lr", "small:test/0", {"form": "continuous"}),
        ("alphazero", "federated_lr", "small:test/0", {}),
    ],
)
def test_two_learners_go_on_after_their_first_step_and_agree(
    stage: str, family: str, instances: str, environment: dict[str, Any]
) -> None:
    runners = {"num_env_runners": 0, "num_envs_per_env_runner": 2}
    settings = {
        "env_runners": runners | ({"rollout_fragment_length": 8} if stage == "alphazero" else {}),
        "learners": {"num_learners": 2},
        "training": SHORT[stage],
        "reporting": {"min_sample_timesteps_per_iteration": 32, "min_time_s_per_iteration": 0},
    }
    problem = load_problem(family)
    shown = [problem.contender_view(one) for one in problem.sets.load(instances)]
    algorithm = build_algorithm(
        stage, problem, {"instances": shown} | environment, {"family": family, "width": 8}, 0,
        settings,
    )  # fmt: skip

    def weights() -> list[dict[str, Any]]:
        results = algorithm.learner_group.foreach_learner(
            lambda learner: {
                name: part.detach().numpy().copy()
                for name, part in learner.module["default_policy"].named_parameters()
            }
        )
        return [result.get() for result in results]

    try:
        before = weights()
        for _ in range(2):
            algorithm.train()
        after = weights()
    finally:
        algorithm.stop()
    assert len(after) == 2
    for name, part in after[0].items():
        assert (part == after[1][name]).all(), name
    assert any((part != before[0][name]).any() for name, part in after[0].items())
