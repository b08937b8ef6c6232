"""Prove a bound on every plan by the relaxed game, and take over plans from its points."""

from __future__ import annotations

import numpy as np

from ...core.solution import Solution
from ...envs.memory_mapping.dynamics import Static
from ...envs.memory_mapping.objective import all_fast_bound
from .. import highs
from .best import Best
from .model import Model, build

LEAST_S = 0.05  # with less left, no model is built
RESERVE_S = 0.01  # kept for ending the run
RESERVE_A_COLUMN_S = 4e-6  # HiGHS looks at the clock late, the later the larger the model
SAFETY = 1e-6  # relative margin of the bound; covers HiGHS' tolerances
BUILD_S = 24e-6  # time to build, for each pair of a decision and an instruction


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
        bound = bound_of(best.static, model, outcome)
    return max(bound, best.speedup_of(best.time))


def bound_of(static: Static, model: Model, outcome: highs.Outcome) -> float:
    """Return the bound on the speed-up that HiGHS has proven on a program's relaxation."""
    bound = all_fast_bound(static)
    time = (outcome.bound + model.constant) * model.ps * (1 - SAFETY)
    return min(bound, static.all_slow / time) if time > 0 and np.isfinite(time) else bound


def is_met(bound: float, best: Best) -> bool:
    """Return whether the best plan meets a bound of `prove`, so that none is better."""
    return best.speedup_of(best.time) >= bound * (1 - 2 * SAFETY)


def finish(best: Best, bound: float) -> Solution:
    """End the run with the best plan: "optimal" if it meets the bound."""
    proved = is_met(bound, best)
    return best.clock.solution(best.plan, "optimal" if proved else "feasible", bound)
