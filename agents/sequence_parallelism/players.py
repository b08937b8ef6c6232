"""The agents of sequence parallelism as contenders.

`ppo` samples plans from its policy until the budget ends. `agent` is a hybrid: local search starts
from limits of micro-batches that a network proposes (limits_network.py). Each takes the folder of a
policy that was trained in place of the shipped one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.problem import PROBLEM
from ...methods.sequence_parallelism.limits import Elite, narrow
from ...methods.sequence_parallelism.local_search import search
from ...methods.sequence_parallelism.planning import Best, plan_steps
from ..checkpoints import SHIPPED, kept_by_content, load_network
from .limits_network import LimitsNetwork, Proposer, read_step
from .limits_network import Weights as LimitsWeights
from .limits_network import take_weights as take_limits
from .network import ShortlistPolicy
from .playing import Player, Weights, take_weights

PPO = SHIPPED / "sequence_parallelism_ppo"
LIMITS = SHIPPED / "sequence_parallelism_limits"
TEMPERATURES = (0.5, 0.3, 1.0, 0.7)  # the samples take turns at these
RESERVE_S = 0.001  # kept back for returning the plan
PROPOSALS_SHARE, MOST_PROPOSALS = 0.5, 32  # of a step's time, and how many at most


@kept_by_content
def load_limits(folder: Path) -> LimitsWeights:
    """Load a network that proposes limits.

    Args:
        folder: the network's.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    return take_limits(load_network(folder, PROBLEM, LimitsNetwork))


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


def solve_agent(
    instance: TrainingBatch, budget: Budget, seed: int, policy: Path = LIMITS
) -> Solution:
    """Plan by local search from proposed limits, in an equal part of the time for each step.

    Args:
        instance: the batch.
        budget: seconds and evaluations; one evaluation is a plan, or a change tried.
        seed: of the proposals and of local search.
        policy: folder of the network that proposes.

    Returns:
        The best plan met.
    """

    def planner(best: Best, step: int, rng: np.random.Generator) -> None:
        elites: list[Elite] = []
        proposer = Proposer(load_limits(policy), read_step(best.works[step]))
        until, temperature = (1 - PROPOSALS_SHARE) * best.left, 0.0
        for _ in range(MOST_PROPOSALS):
            _, shape, bias = proposer.draw(temperature, rng)
            if not narrow(best, step, elites, np.exp(shape), np.exp(bias), until):
                break
            temperature = 1.0
        search(best, step, rng, elites)

    return plan_steps(instance, budget, seed, planner).solution()


def _temperature(count: int) -> float:
    """Return the sampling temperature of sample number `count`; 0.0 (greedy) for the first."""
    return TEMPERATURES[count % len(TEMPERATURES)] if count else 0.0
