"""The agents of memory mapping as contenders. Uses torch and numba.

`ppo` samples plans from its policy until the budget ends. `muzero` plays with the search it was
trained with, on the game itself (known model). `agent` is a hybrid: MuZero's policy gives the plans
that local search, handed over by the registry, begins from, and says where to change them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ...core.budget import Budget, Clock
from ...core.registry import load_contender
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.problem import PROBLEM
from ..checkpoints import SHIPPED, load_network
from .lookahead import Lookahead
from .network import DecisionPolicy
from .playing import Player, Weights, take_weights

PPO, MUZERO = SHIPPED / "memory_mapping_ppo", SHIPPED / "memory_mapping_muzero"
TEMPERATURES = (0.5, 0.3, 1.0, 0.7)  # of the samples, in turn
RESERVE_S = 0.005  # for handing the plan over
GAMES = 4  # of a program, searched side by side
FIRST_SIMULATIONS = 8  # a choice; doubled from round to round
MOST_SIMULATIONS = 128
ROUNDS_A_DOUBLING = 4
SAMPLES_SHARE = 0.1  # of the agent's budget, for plans to begin from
MOST_SAMPLES = 48
STARTS = 4
LEAST_DOUBT = 0.002  # every decision may be changed


@cache
def shipped_weights(folder: Path) -> Weights:
    """A shipped policy.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    return take_weights(load_network(folder, PROBLEM, DecisionPolicy))


class _Best:
    """The best plan so far."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.time, self.plan = 1 << 62, np.zeros(0, np.int64)

    def take(self, time: int, plan: np.ndarray) -> None:
        """Keeps a plan if it is the best."""
        self.clock.evaluations += 1
        if time < self.time:
            self.time, self.plan = time, plan.copy()
            self.clock.incumbent(self.plan)


def solve_ppo(instance: Program, budget: Budget, seed: int) -> Solution:
    """The best of many sampled plans, the likeliest choices' among them. One evaluation is one
    plan.
    """
    clock = budget.start()
    best = _Best(clock)
    rng = np.random.default_rng(seed)
    player = Player(instance, shipped_weights(PPO))
    slowest = 0.0
    while clock.evaluations == 0 or not (clock.expired or clock.remaining < RESERVE_S + slowest):
        began = clock.elapsed
        count = clock.evaluations
        temperature = TEMPERATURES[count % len(TEMPERATURES)] if count else 0.0
        best.take(player.play(temperature, rng), player.state.actions)
        slowest = max(slowest, clock.elapsed - began)
    return clock.solution(best.plan)


def solve_muzero(instance: Program, budget: Budget, seed: int) -> Solution:
    """The best plan of games played by Gumbel search on the known model. One evaluation is one
    plan.

    The likeliest choices' plan comes first. Then rounds of GAMES games, the first from the start,
    the others from somewhere along the best plan; simulations double after ROUNDS_A_DOUBLING.
    """
    clock = budget.start()
    best = _Best(clock)
    rng = np.random.default_rng(seed)
    player = Player(instance, shipped_weights(MUZERO))
    best.take(player.play(0.0, rng), player.state.actions)
    simulations = FIRST_SIMULATIONS
    while True:
        lookahead = Lookahead(player, GAMES, simulations)
        for round_ in range(ROUNDS_A_DOUBLING):
            kept = 0 if round_ == 0 else int(rng.integers(len(best.plan)))
            for ended in lookahead.play(best.plan[:kept], rng):
                for time, plan in ended:
                    best.take(time, plan)
                if clock.expired or clock.remaining < RESERVE_S:
                    return clock.solution(best.plan)
        simulations = min(2 * simulations, MOST_SIMULATIONS)


def solve_agent(instance: Program, budget: Budget, seed: int) -> Solution:
    """Local search from sampled plans, its changes where the policy would choose otherwise. One
    evaluation is one plan.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    player = Player(instance, shipped_weights(MUZERO))
    plans: dict[bytes, tuple[int, np.ndarray]] = {}
    for count in range(MOST_SAMPLES):
        if count and clock.elapsed > SAMPLES_SHARE * budget.seconds:
            break
        temperature = TEMPERATURES[count % len(TEMPERATURES)] if count else 0.0
        time = player.play(temperature, rng)
        clock.evaluations += 1
        plans[player.state.actions.tobytes()] = time, player.state.actions.copy()
    starts = [plan for _, plan in sorted(plans.values(), key=lambda pair: pair[0])[:STARTS]]

    def doubts(plan: np.ndarray) -> np.ndarray:
        return player.doubts(plan) + LEAST_DOUBT

    local_search = load_contender(PROBLEM.family, "local_search")
    asked = clock.elapsed
    return clock.adopt(local_search(instance, clock.left(), seed, starts, doubts), asked)
