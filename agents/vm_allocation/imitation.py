"""Warm start of the allocation policy from another contender's play.

What a contender did in the world of seed 0 is played again; samples are drawn from its decisions.
Places on hosts that are alike have one score, so which of them was taken makes no difference.
"""

from __future__ import annotations

import numpy as np

from ...datasets.vm_allocation.instance import DataCenter
from ...envs.vm_allocation.env import VMAllocationEnv
from ..batches import Choice, returns
from ..recipe import ImitationPass
from .network import AllocationPolicy

LESSONS_A_WORLD = 1000  # samples taken from one world


def lessons(imitation: ImitationPass[AllocationPolicy, DataCenter]) -> list[Choice]:
    """Return decisions of a contender's episodes, one episode per instance; see Recipe."""
    samples: list[Choice] = []
    for center in imitation.instances:
        plan = imitation.plan(center)
        samples += demonstrate(center, plan, imitation.rng, imitation.discount)
    return samples


def demonstrate(
    center: DataCenter, plan: np.ndarray, rng: np.random.Generator, discount: float = 1.0
) -> list[Choice]:
    """Play an episode and return some of its decisions.

    Args:
        center: the instance.
        plan: int64 [n]; the actions in the world of seed 0.
        rng: draws LESSONS_A_WORLD of the decisions.
        discount: of the rewards to come.
    """
    env = VMAllocationEnv(center)
    observation, _ = env.reset(seed=0)
    kept = np.zeros(len(plan) + 1, np.bool_)
    kept[rng.permutation(len(plan))[:LESSONS_A_WORLD]] = True
    seen, rewards = [], np.empty(len(plan))
    for number, action in enumerate(plan.tolist()):
        if kept[number]:
            seen.append(observation)
        if kept[number + 1]:
            observation, rewards[number], *_ = env.step(action)
        else:
            rewards[number], _ = env.advance(action)
    to_come = returns(rewards, discount)
    chosen = np.flatnonzero(kept)
    pairs = zip(plan[chosen].tolist(), to_come[chosen].tolist(), strict=True)
    return [Choice(one, *pair) for one, pair in zip(seen, pairs, strict=True)]
