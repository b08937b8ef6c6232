"""Warm start of the policy from a solver's plans."""

from __future__ import annotations

import numpy as np

from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.env import SequenceParallelismEnv
from ..batches import Choice, returns
from ..recipe import ImitationPass
from .network import ShortlistPolicy


def lessons(imitation: ImitationPass[ShortlistPolicy, TrainingBatch]) -> list[Choice]:
    """Return the choices of the contender's plans that the short list offers; see Recipe."""
    pad = SequenceParallelismEnv(list(imitation.instances))
    samples: list[Choice] = []
    for batch in imitation.instances:
        samples += demonstrate(pad, batch, imitation.plan(batch), imitation.discount)
    return samples


def demonstrate(
    env: SequenceParallelismEnv, batch: TrainingBatch, plan: np.ndarray, discount: float
) -> list[Choice]:
    """Return a plan's choices among several actions, those that the short list offers.

    Args:
        env: with room for the batch.
        batch: the instance.
        plan: int64 [K].
        discount: of the rewards to come.
    """
    observation, _ = env.reset(options={"instance": batch})
    seen, rewards = [], []
    for action in plan.tolist():
        seen.append(observation)
        observation, reward, *_ = env.step(action)
        rewards.append(reward)
    to_come = returns(rewards, discount).tolist()
    return [
        Choice(observation, action, left)
        for observation, action, left in zip(seen, plan.tolist(), to_come, strict=True)
        if action in observation["candidate_actions"] and observation["action_mask"].sum() > 1
    ]
