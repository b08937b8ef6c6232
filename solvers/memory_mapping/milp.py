"""The relaxed game by mixed-integer programming on HiGHS, its points replayed in the game.

The bound is the relaxation's: it holds for every plan, whether or not the point can be played.
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.objective import all_fast_bound
from ...methods import highs
from ...methods.memory_mapping import local_search, threshold
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.model import build

SWEEP_SHARE, SEARCH_SHARE, POLISH_SHARE = 0.1, 0.1, 0.1  # of the budget
LEAST_S = 0.05  # with less left, no model is built
RESERVE_S = 0.01  # kept for ending the run
RESERVE_A_COLUMN_S = 4e-6  # HiGHS looks at the clock late, the later the larger the model
SAFETY = 1e-6  # relative margin of the bound; covers HiGHS' tolerances
BUILD_S = 24e-6  # time to build, for each pair of a decision and an instruction


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by the relaxation with HiGHS on one thread, its points replayed in the game.

    A threshold sweep and a short local search come first; local search from the best plan uses the
    rest. The status is "optimal" if the plan meets the bound.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan played.
        seed: seeds HiGHS, and draws the changes of the local search.
    """
    clock = budget.start()
    best = Best(instance, clock)
    threshold.search(best, SWEEP_SHARE * budget.seconds, coarse=True)
    local_search.improve(best, seed, SEARCH_SHARE)
    return finish(best, prove(best, seed, POLISH_SHARE * budget.seconds), seed + 1)


def finish(best: Best, bound: float, seed: int) -> Solution:
    """Improve the best plan by local search, unless it meets the bound, and end the run.

    Args:
        best: the program and the best plan.
        bound: an upper bound on the speed-up.
        seed: draws the changes of the local search.

    Returns:
        The best plan with the bound; "optimal" if it meets it.
    """
    least = bound * (1 - 2 * SAFETY)
    if best.speedup_of(best.time) < least:
        local_search.improve(best, seed)
    proved = best.speedup_of(best.time) >= least
    return best.clock.solution(best.plan, "optimal" if proved else "feasible", bound)


def prove(best: Best, seed: int, spare: float = 0.0) -> float:
    """Prove an upper bound on the speed-up; better plans found on the way go to `best`.

    Args:
        best: the program and the best plan.
        seed: seeds HiGHS.
        spare: seconds to leave on the clock.

    Returns:
        The bound; at least the speed-up of the best plan.
    """
    bound = all_fast_bound(best.static)
    clock = best.clock
    building = BUILD_S * len(best.plan) * len(best.static.instr_slow)
    if clock.expired or clock.remaining - spare < LEAST_S + building:
        return bound
    model = build(best.static)

    def seconds() -> float:
        return 0.0 if clock.expired else clock.remaining - spare - RESERVE_S

    def take(point: np.ndarray) -> None:
        if not clock.expired:
            best.try_wishes((point[model.in_fast] > 0.5).astype(np.int8))

    reserve = RESERVE_A_COLUMN_S * len(model.cost)
    if seconds() >= 5 * reserve:
        outcome = highs.solve(model.program(), seconds, seed=seed, reserve=reserve, on_point=take)
        if outcome.x is not None:
            take(outcome.x)
        time = (outcome.bound + model.constant) * model.ps * (1 - SAFETY)
        if time > 0 and np.isfinite(time):
            bound = min(bound, best.static.all_slow / time)
    return max(bound, best.speedup_of(best.time))
