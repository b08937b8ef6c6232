"""Measure the gradients of value and policy in the layers that both train, in MuZero's loss.

    python -m sysopt_gym.benchmarks.muzero_balance

A family's shipped policy plays itself by the family's configuration; every iteration one batch is
drawn as the learner draws it. The ratio of the norms says which of the two the clipped gradient,
and Adam's steps, belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import typer
from torch import nn

from ..agents.algorithms import build_algorithm
from ..agents.checkpoints import load_policy
from ..agents.configuration import load_config, policy_folder
from ..agents.muzero.learner import losses_of
from ..agents.muzero.replay import batch_of
from ..core.registry import load_problem
from ..core.sources import find_instances

LEARNED = "default_policy"  # RLlib's name of the one module
PARTS = "policy_loss", "value_loss"


def shared_norms(module: Any, value_coeff: float, batch: Mapping[str, Any]) -> dict[str, float]:
    """Return the gradient norms of policy and value in the parameters that both reach.

    Args:
        module: a MuZeroModule.
        value_coeff: weight of the value's loss.
        batch: tensors of replay.batch_of.

    Returns:
        Each of PARTS -> the norm of its gradient.
    """
    losses = losses_of(module, value_coeff, dict(batch), module.forward_train(dict(batch)))
    parameters = list(module.parameters())
    grads = [
        torch.autograd.grad(
            (batch["weights"] * losses[part]).mean(), parameters, retain_graph=True,
            allow_unused=True,
        )
        for part in PARTS
    ]  # fmt: skip
    both = [pair for pair in zip(*grads, strict=True) if all(grad is not None for grad in pair)]
    norms = [nn.utils.get_total_norm(part).item() for part in zip(*both, strict=True)]
    return dict(zip(PARTS, norms, strict=True))


def norms_in_training(
    family: str, iterations: int, instances: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train by a family's configuration from its shipped policy.

    Args:
        family: name of the family.
        iterations: iterations of RLlib's algorithm.
        instances: how many of the configuration's instances are played.

    Yields:
        After each iteration, the steps played and `shared_norms` of a batch.
    """
    config, problem = load_config(f"{family}_alphazero", {}), load_problem(family)
    weights, _ = load_policy(policy_folder(config.start), problem)
    section = config.reinforcement["alphazero"]
    found = [one for name in section.instances for one in find_instances(problem, name, {})]
    shown = [problem.contender_view(instance) for instance in found[:instances]]
    network = {
        "family": family, "recipe": config.recipe, "width": config.width, "weights": weights,
    }  # fmt: skip
    settings = dict(section.algorithm)
    settings["training"] = dict(settings["training"]) | {"learning_starts": 1}
    algorithm = build_algorithm(
        "alphazero", problem, {"instances": shown} | section.environment, network, config.seed,
        settings,
    )  # fmt: skip
    try:
        for _ in range(iterations):
            algorithm.train()
            places = algorithm.buffer.draw(algorithm.config.total_train_batch_size)
            batch = _tensors(batch_of(places, algorithm.target_settings))
            coeff = algorithm.config.value_coeff
            (norms,) = algorithm.learner_group.foreach_learner(
                lambda learner: shared_norms(learner.module[LEARNED].unwrapped(), coeff, batch)  # noqa: B023
            )
            yield algorithm.buffer.get_num_timesteps(), norms.get()
    finally:
        algorithm.stop()


def _tensors(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return {key: _tensors(part) for key, part in batch.items()}
    return torch.from_numpy(batch)


def main(
    families: str = "memory_mapping,federated_lr,sequence_design,vm_rescheduling",
    iterations: int = 6,
    instances: int = 8,
) -> None:
    """Print the norms of each iteration.

    Args:
        families: families with a configuration of AlphaZero.
        iterations: iterations of each.
        instances: how many instances each plays.
    """
    torch.set_num_threads(1)
    print("family            steps   policy    value  value / policy")
    for family in families.split(","):
        for steps, norms in norms_in_training(family, iterations, instances):
            policy, value = (norms[part] for part in PARTS)
            print(
                f"{family:<16}{steps:>7,}{policy:9.5f}{value:9.5f}{value / policy:10.2f}",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
