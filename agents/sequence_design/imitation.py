"""Warm start of the sequence-design policy from a solver's batches. Uses torch and core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ...core.budget import Budget
from ...core.contracts import Solver
from ...core.errors import SettingError
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.env import SequenceDesignEnv
from ..batches import stack
from .network import SequencePolicy


class Sample(NamedTuple):
    """An observation and the letter to imitate."""

    observation: dict[str, np.ndarray]
    action: int


def lessons(
    network: nn.Module,
    instances: Sequence[DesignTask],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Sample]:
    """Every letter of a solver's batches; see Recipe. States of own play are not used."""
    if solver is None:
        raise SettingError("imitation.contender: name the contender whose designs are imitated")
    samples = []
    for task in instances:
        env = SequenceDesignEnv(task)
        plan = solver(env.instances[0], budget, int(rng.integers(1 << 30))).actions
        observation, _ = env.reset()
        for action in plan.tolist():
            samples.append(Sample(dict(observation), int(action)))
            observation, *_ = env.step(action)
    return samples


def imitate(
    network: SequencePolicy,
    samples: Sequence[Sample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> float:
    """One pass of cross-entropy over samples; returns its mean. See Recipe."""
    order = rng.permutation(len(samples))
    total = 0.0
    for first in range(0, len(order), batch_size):
        batch = [samples[i] for i in order[first : first + batch_size]]
        obs = stack([sample.observation for sample in batch])
        scores = network.logits(network.encode(obs), obs)
        loss = nn.functional.cross_entropy(scores, torch.tensor([s.action for s in batch]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach()) * len(batch)
        progress((first + len(batch)) / len(order))
    return total / max(1, len(samples))
