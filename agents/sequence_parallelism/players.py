"""The agents of sequence parallelism as contenders.

`ppo` samples plans from its policy until the budget ends. `agent` is a hybrid: local search starts
from the best of some sampled plans, besides its own. Each takes the folder of a policy that PPO or
imitation trained in place of the shipped one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.dynamics import GROUPS
from ...envs.sequence_parallelism.problem import PROBLEM
from ...methods.sequence_parallelism.grouping import Grouping
from ...methods.sequence_parallelism.local_search import search
from ...methods.sequence_parallelism.planning import Best, first_plan
from ..checkpoints import SHIPPED, kept_by_content, load_network
from .network import ShortlistPolicy
from .playing import Player, Weights, take_weights

PPO = SHIPPED / "sequence_parallelism_ppo"
TEMPERATURES = (0.5, 0.3, 1.0, 0.7)  # the samples take turns at these
RESERVE_S = 0.001  # kept back for returning the plan
# Of `agent`: the share of a step's time after which no sample is begun, that after which none goes
# on, and how many there are at most.
SAMPLES_SHARE, FIRST_SHARE, MOST_SAMPLES = 0.15, 0.6, 64


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
        The best plan sampled; the first is made to its end, however long that takes.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    player = Player(instance, load_weights(policy))
    best, plan = player.play(0.0, rng), player.actions.copy()
    clock.evaluations += 1
    clock.incumbent(plan)
    while not clock.expired and clock.remaining > RESERVE_S:
        time = player.play(
            _temperature(clock.evaluations), rng, lambda: clock.remaining < RESERVE_S
        )
        clock.evaluations += 1
        if time < best:
            best, plan = time, player.actions.copy()
            clock.incumbent(plan)
    return clock.solution(plan)


def solve_agent(instance: TrainingBatch, budget: Budget, seed: int, policy: Path = PPO) -> Solution:
    """Plan by local search from sampled plans, in an equal part of the time for each step.

    Args:
        instance: the batch.
        budget: seconds and evaluations; one evaluation is a plan, or a change tried.
        seed: of the samples and of local search.
        policy: folder of the policy.

    Returns:
        The best plan met.
    """
    best = Best(instance, budget.start())
    rng = np.random.default_rng(seed)
    player, steps = Player(instance, load_weights(policy)), len(best.works)
    for step, work in enumerate(best.works):
        best.offer(step, first_plan(work))
        best.clock.evaluations += 1
    for step in range(steps):
        best.allow(1 / (steps - step))
        left = best.left
        least, cut = (1 - SAMPLES_SHARE) * left, (1 - FIRST_SHARE) * left
        for count in range(MOST_SAMPLES):
            plan = _sample(player, step, _temperature(count), rng, best, cut)
            best.clock.evaluations += 1
            if plan is None:
                break
            best.offer(step, plan)
            if best.left < least:
                break
        search(best, step, rng)
    return best.solution()


def _sample(
    player: Player,
    step: int,
    temperature: float,
    rng: np.random.Generator,
    best: Best,
    least: float,
) -> Grouping | None:
    """Sample a plan of a step; return None if less than the least time is left before its end."""
    played = player.play_step(step, temperature, rng, lambda: best.left < least)
    if played is None:
        return None
    state, actions = played
    opens = actions >= player.limit
    group = np.where(opens, opens.cumsum() - 1, actions)
    kind, micro_batch, _ = state.groups[: state.counts[GROUPS]].T.copy()
    return Grouping(group, kind, micro_batch)


def _temperature(count: int) -> float:
    """Return the sampling temperature of sample number `count`; 0.0 (greedy) for the first."""
    return TEMPERATURES[count % len(TEMPERATURES)] if count else 0.0
