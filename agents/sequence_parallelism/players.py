"""The agents of sequence parallelism as contenders.

`ppo` samples plans from its policy until the budget ends. It takes the folder of a policy that PPO
or imitation trained in place of the shipped one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.problem import PROBLEM
from ..checkpoints import SHIPPED, kept_by_content, load_network
from .network import ShortlistPolicy
from .playing import Player, Weights, take_weights

PPO = SHIPPED / "sequence_parallelism_ppo"
TEMPERATURES = (0.5, 0.3, 1.0, 0.7)  # the samples take turns at these
RESERVE_S = 0.001  # kept back for returning the plan


@kept_by_content
def load_weights(folder: Path) -> Weights:
    """Load a policy for compiled play.

    Args:
        folder: the policy's.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    return take_weights(load_network(folder, PROBLEM, ShortlistPolicy))


def solve_ppo(instance: TrainingBatch, budget: Budget, seed: int, policy: Path = PPO) -> Solution:
    """Plan by sampling from the policy; the first sample takes the likeliest choices.

    Args:
        instance: the batch.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: seed of the samples.
        policy: folder of the policy.

    Returns:
        The best plan sampled.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    player = Player(instance, load_weights(policy))
    best, plan, slowest = np.inf, np.zeros(0, np.int64), 0.0
    while best == np.inf or not (clock.expired or clock.remaining < RESERVE_S + slowest):
        began = clock.elapsed
        time = player.play(_temperature(clock.evaluations), rng)
        clock.evaluations += 1
        if time < best:
            best, plan = time, player.actions.copy()
            clock.incumbent(plan)
        slowest = max(slowest, clock.elapsed - began)
    return clock.solution(plan)


def _temperature(count: int) -> float:
    """Return the sampling temperature of sample number `count`; 0.0 (greedy) for the first."""
    return TEMPERATURES[count % len(TEMPERATURES)] if count else 0.0
