"""The relaxed game by mixed-integer programming on HiGHS, its points replayed in the game.

The bound is the relaxation's: it holds for every plan, whether or not the point can be played.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import highspy
import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.objective import all_fast_bound
from . import local_search, threshold
from .best import Best
from .model import Model, build

SWEEP_SHARE, SEARCH_SHARE, POLISH_SHARE = 0.1, 0.1, 0.1
LEAST_S = 0.05
RESERVE_S = 0.01
RESERVE_A_COLUMN_S = 4e-6  # HiGHS looks at the clock late, the later the larger the model
SAFETY = 1e-6  # of the bound; covers HiGHS' tolerances
BUILD_S = 24e-6  # a decision and an instruction; with less left, HiGHS proves nothing


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plans by the relaxation with HiGHS on one thread; one evaluation is one plan played.

    A threshold sweep and a short local search come first; local search from the best plan uses
    what is left. The status is "optimal" where the plan meets the bound.
    """
    clock = budget.start()
    best = Best(instance, clock)
    threshold.search(best, SWEEP_SHARE * budget.seconds, coarse=True)
    local_search.improve(best, seed, SEARCH_SHARE)
    bound = prove(best, seed, POLISH_SHARE * budget.seconds)
    proved = best.speedup_of(best.time) >= bound * (1 - 2 * SAFETY)
    if not proved:
        local_search.improve(best, seed + 1)
    proved = best.speedup_of(best.time) >= bound * (1 - 2 * SAFETY)
    return clock.solution(best.plan, "optimal" if proved else "feasible", bound)


def prove(best: Best, seed: int, spare: float = 0.0) -> float:
    """An upper bound on the speed-up; better plans on the way go to `best`.

    Args:
        best: the program and the best plan.
        seed: of HiGHS.
        spare: seconds to leave on the clock.
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

    cost = run_highs(model, seconds, seed, take)
    time = (cost + model.constant) * model.ps * (1 - SAFETY)
    if time > 0 and np.isfinite(time):
        bound = min(bound, best.static.all_slow / time)
    return max(bound, best.speedup_of(best.time))


def run_highs(
    model: Model,
    seconds: Callable[[], float],
    seed: int,
    on_point: Callable[[np.ndarray], None],
) -> float:
    """Solves the model; returns the proven bound on its cost, less the constant.

    Args:
        model: the model.
        seconds: how many are left.
        seed: of HiGHS.
        on_point: told each better point on the way.
    """
    columns, rows = len(model.cost), len(model.rows)
    reserve = RESERVE_A_COLUMN_S * columns
    if seconds() < 5 * reserve:
        return -np.inf
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = columns, rows
    lp.col_cost_, lp.col_lower_ = np.array(model.cost), np.array(model.lower)
    lp.col_upper_ = np.array(model.upper)
    lp.row_lower_, lp.row_upper_ = np.array(model.row_lower), np.array(model.row_upper)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lengths = np.array([len(terms) for terms in model.rows])
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    lp.a_matrix_.index_ = np.array([c for terms in model.rows for c in terms], np.int32)
    lp.a_matrix_.value_ = np.array([v for terms in model.rows for v in terms.values()])
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [kinds[whole] for whole in model.whole]
    solver = highspy.Highs()
    options = {
        "output_flag": False,
        "log_to_console": False,
        "threads": 1,
        "random_seed": seed % 2**31,
        "mip_rel_gap": 0.0,
        "mip_abs_gap": 1e-6,
        "mip_detect_symmetry": False,
        "mip_heuristic_run_feasibility_jump": False,
    }
    for name, setting in options.items():
        solver.setOptionValue(name, setting)
    solver.passModel(lp)

    def improved(event: Any) -> None:
        on_point(np.array(event.data_out.mip_solution))

    def stop_in_time(event: Any) -> None:
        # Inside one long step HiGHS asks this more often than it looks at its own time limit.
        if seconds() <= 0.0:
            event.interrupt()

    solver.cbMipImprovingSolution.subscribe(improved)
    solver.cbMipInterrupt.subscribe(stop_in_time)
    solver.cbSimplexInterrupt.subscribe(stop_in_time)
    solver.setOptionValue("time_limit", max(0.0, seconds() - reserve))
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
        on_point(np.array(solver.getSolution().col_value))
    return float(info.mip_dual_bound)
