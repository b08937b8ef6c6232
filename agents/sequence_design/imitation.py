"""Warm start of the sequence-design policy: from a solver's batches, or from measured sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.env import SequenceDesignEnv
from ...envs.sequence_design.plan import designs_of
from ...envs.sequence_design.rules import repaired
from ..batches import Losses, one_pass, returns, step, value_error
from ..recipe import ImitationPass
from .network import Encoded, SequencePolicy
from .playing import chosen, legal_at, log_policy

RANKED = 0.01  # k of the weights, see imitate_measured; ranks far below k N hardly count


class Sample(NamedTuple):
    """A design to imitate.

    Attributes:
        tokens: int64 [L]; the design.
        legal: bool [L, V]; the letters that may stand at each place; see `legal_at`.
        beside: float32 [L, 5]; what is observed beside the letters before each; see Encoded.
        to_come: float32 [L]; discounted sum of the rewards from each letter on.
    """

    tokens: Tensor
    legal: Tensor
    beside: Tensor
    to_come: Tensor


def lessons(imitation: ImitationPass[SequencePolicy, DesignTask]) -> list[Sample]:
    """Return the designs of the contender's batches; see Recipe."""
    samples: list[Sample] = []
    for task in imitation.instances:
        designs = designs_of(task, imitation.plan(task))
        tokens = torch.from_numpy(designs.astype(np.int64))
        shown = demonstrate(task, designs, imitation.discount, imitation.environment)
        samples += map(Sample, tokens, legal_at(task, designs), *shown)
    return samples


def demonstrate(
    task: DesignTask, designs: np.ndarray, discount: float, environment: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Play designs letter by letter, in as many episodes as they take.

    Args:
        task: the task.
        designs: int8 [n, L]; the designs.
        discount: of the rewards to come.
        environment: keyword arguments of the environment; its form is construct in any case.

    Returns:
        What is observed beside the letters, float32 [n, L, 5], and the discounted sums of the
        rewards from each letter on, float32 [n, L].
    """
    env = SequenceDesignEnv(task, **(dict(environment) | {"form": "construct"}))
    beside, to_come, rewards = [], [], []
    observation, _ = env.reset(seed=0)
    for letter in designs.ravel().tolist():
        beside.append([*observation["progress"], *observation["proxy_values"]])
        observation, reward, ended, _, _ = env.step(letter)
        rewards.append(reward)
        if ended:
            to_come += returns(rewards, discount).tolist()
            rewards = []
            observation, _ = env.reset()
    to_come += returns(rewards, discount).tolist()
    shape = designs.shape
    return torch.tensor(beside).view(*shape, -1), torch.tensor(to_come).view(shape)


def imitate(
    network: SequencePolicy,
    samples: Sequence[Sample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Train one pass; return "loss", the cross-entropy per letter, and "value_loss".

    Args:
        network: the policy.
        samples: designs to imitate.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step.
        rng: source of the order of the samples.
    """

    def loss_of(batch: Sequence[Sample]) -> tuple[Tensor, Losses]:
        tokens, legal, beside, to_come = map(torch.stack, zip(*batch, strict=True))
        log_chances, states = log_policy(network, tokens, legal)
        loss = -chosen(log_chances, tokens).mean()
        values = network.value(Encoded(states.flatten(0, 1), beside.flatten(0, 1)))
        error = value_error(values, to_come.flatten())
        return loss + error, {"loss": loss.item(), "value_loss": error.item()}

    return one_pass(network, samples, optimizer, batch_size, rng, loss_of)


def surprise(network: SequencePolicy, tokens: Tensor, legal: Tensor) -> Tensor:
    """Return the mean of -log P per letter of designs.

    Args:
        network: the policy.
        tokens: int64 [B, L], the designs.
        legal: bool [B, L, V], the letters that may stand at each place; of `legal_at`.
    """
    log_chances, _ = log_policy(network, tokens, legal)
    return -chosen(log_chances, tokens).mean()


def imitate_measured(
    network: SequencePolicy,
    task: DesignTask,
    optimizer: torch.optim.Optimizer,
    batches: int,
    batch_size: int,
    rng: np.random.Generator,
    enough: Callable[[], bool],
) -> None:
    """Train on measured sequences by cross-entropy, sampling the better ones more often.

    A sequence is sampled with weight 1 / (k N + rank) (Tripp et al. 2020, arXiv 2006.09191, section
    3), with k = RANKED and N sequences.

    Args:
        network: the policy.
        task: the task whose measured sequences are imitated.
        optimizer: optimizer of the network's parameters.
        batches: gradient steps at most.
        batch_size: sequences per step.
        rng: source of the sampling.
        enough: returns, before each step, whether to stop.
    """
    count = len(task.scores)
    ranks = np.argsort(np.argsort(-task.scores, kind="stable"), kind="stable")
    chances = 1.0 / (RANKED * count + ranks)
    chances /= chances.sum()
    for _ in range(batches):
        if enough():
            break
        rows = repaired(task, task.sequences[rng.choice(count, batch_size, p=chances)], rng)
        tokens = torch.from_numpy(rows.astype(np.int64))
        step(network, optimizer, surprise(network, tokens, legal_at(task, rows)))
