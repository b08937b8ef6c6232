"""`reader`: plans of the network that reads a program once, improved in what is left of the budget.

Made for a compiler's budgets of some milliseconds: the network is evaluated once, its plans cost
little more than any play, and its doubts about them say where local search is to change them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import DROP
from ...envs.memory_mapping.problem import PROBLEM
from ...methods.memory_mapping import greedy, threshold
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.local_search import improve
from ...methods.memory_mapping.long import LONG, NEVER
from ..checkpoints import SHIPPED, kept_by_content, load_network
from .reader import ProgramReader, take_weights
from .reading import Reader, Weights

READER = SHIPPED / "memory_mapping_reader"
# Added to the log-odds of fast memory, plan by plan: the likeliest choices, then more and less.
BIASES = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
PLANS_SHARE = 0.5  # share of the seconds for plans of the policy
# The same for a threshold sweep, where that is SWEEP_PLAYS plays or more.
SWEEP_SHARE = 0.3
SWEEP_PLAYS = 8
READ_S = 1.5e-6  # most seconds that reading takes, for each decision
READ_SHARE = 0.7  # share of the seconds left that reading may take
POLICY_SHARE, LONG_SHARE = 0.8, 0.5  # what is not decided by then is in slow memory
# Decisions of a program in which going back at dead ends takes no long time. In longer ones there
# is no sweep, whose plans go back often, and local search does not keep what meets a dead end.
QUICK = 500
LEAST_DOUBT = 0.02
RESERVE_S, RESERVE_A_DECISION_S = 0.0015, 0.5e-6
RESERVE_SHARE = 0.2


@kept_by_content
def load_weights(folder: Path) -> Weights:
    """Load a policy for compiled play.

    Args:
        folder: the policy's.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    return take_weights(load_network(folder, PROBLEM, ProgramReader))


def solve_reader(instance: Program, budget: Budget, seed: int, policy: Path = READER) -> Solution:
    """Plan by the network's choices, with more and less in fast memory; then by a threshold sweep
    and by local search that begins changes where the network doubts the plan.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: seed of local search.
        policy: folder of the policy.

    Returns:
        The best plan met.
    """
    clock = _shortened(budget, instance.n_instrs).start()
    weights = load_weights(policy)
    best = Best(instance, clock)
    count, seconds = len(best.plan), clock.budget.seconds
    if READ_S * count > READ_SHARE * clock.remaining:
        greedy.search(best)
        return clock.solution(best.plan)
    reader = Reader(best.static, best.state, weights)
    until = (LONG_SHARE if count > LONG else POLICY_SHARE) * seconds
    slowest, odds = 0.0, np.zeros(count)
    for number, bias in enumerate(BIASES):
        is_over = clock.elapsed > PLANS_SHARE * seconds or clock.remaining < 2 * slowest
        if clock.expired or (number and is_over):
            break
        began = clock.elapsed
        time = reader.play_within(clock, until, np.full(count, bias), must_end=number == 0)
        clock.evaluations += 1
        if time == NEVER:
            break
        best.take(time, best.state.actions)
        if number == 0:
            odds = reader.notes.odds.copy()
        slowest = max(slowest, clock.elapsed - began)
    sweep_s = SWEEP_SHARE * seconds if count <= QUICK else 0.0
    if min(sweep_s, clock.remaining) > SWEEP_PLAYS * slowest:
        threshold.search(best, sweep_s, coarse=True)
    fast = 1.0 / (1.0 + np.exp(-odds))

    def doubts(plan: np.ndarray) -> np.ndarray:
        return np.where(plan == DROP, fast, 1.0 - fast) + LEAST_DOUBT

    improve(best, seed, guide=doubts, rewinds=count <= QUICK)
    return clock.solution(best.plan)


def _shortened(budget: Budget, instrs: int) -> Budget:
    """Return a budget that ends earlier, by what returning a plan and a last play take.

    Args:
        budget: the budget given.
        instrs: instructions of the program.
    """
    reserve = RESERVE_S + RESERVE_A_DECISION_S * instrs
    return replace(budget, seconds=budget.seconds - min(reserve, RESERVE_SHARE * budget.seconds))
