"""Run HiGHS on a linear or mixed-integer program: one set-up for every method that needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp

Seconds = Callable[[], float]  # returns the wall-clock seconds left
Report = Callable[[np.ndarray], None]  # receives a point, float64 [C]


@dataclass(frozen=True, slots=True)
class MixedIntegerProgram:
    """Minimize cost . x subject to row_lower <= matrix x <= row_upper and lower <= x <= upper.

    Attributes:
        cost, lower, upper: float64 [C].
        matrix: sparse CSC, float64 [R, C].
        row_lower, row_upper: float64 [R].
        integer: bool [C]; columns that must be whole numbers. If none must, the program is linear.
    """

    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    matrix: sp.csc_matrix
    row_lower: np.ndarray
    row_upper: np.ndarray
    integer: np.ndarray


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a run of HiGHS.

    Attributes:
        x: float64 [C]; the best feasible point, or None if none was found.
        bound: a proven lower bound on the cost of a mixed-integer program.
        optimal: whether x is proven optimal.
        row_dual: float64 [R]; duals of the rows of a linear program.
    """

    x: np.ndarray | None = None
    bound: float = -np.inf
    optimal: bool = False
    row_dual: np.ndarray = field(default_factory=lambda: np.zeros(0))


def solve(
    program: MixedIntegerProgram,
    seconds: Seconds,
    *,
    seed: int = 0,
    reserve: float = 0.0,
    gap: float = 1e-6,
    presolve: bool = True,
    interrupt: bool = True,
    start: np.ndarray | None = None,
    on_point: Report | None = None,
) -> Outcome:
    """Solve a program with HiGHS on one thread.

    Args:
        program: the program, of C columns and R rows.
        seconds: returns the wall-clock seconds left; read when the run begins, and during the run
            where `interrupt` is set.
        seed: seed of HiGHS's own random choices.
        reserve: seconds by which HiGHS's time limit comes before the end, since it reads its clock
            late.
        gap: absolute gap between cost and bound at which a point counts as optimal.
        presolve: whether HiGHS simplifies the program first.
        interrupt: whether to poll `seconds` inside long steps, in which HiGHS ignores its limit.
        start: float64 [C]; a feasible point to start from.
        on_point: called with each better point, float64 [C], while HiGHS runs.

    Returns:
        The best point, and what is proven about it.
    """
    solver = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": 1,
        "random_seed": seed % 2**31,
        "presolve": "choose" if presolve else "off",
        "mip_rel_gap": 0.0,
        "mip_abs_gap": gap,
        # On the models of this library these two cost more than they save.
        "mip_detect_symmetry": False,
        "mip_heuristic_run_feasibility_jump": False,
    }
    for name, setting in options.items():
        solver.setOptionValue(name, setting)
    solver.passModel(_highs_lp(program))
    if start is not None:
        point = highspy.HighsSolution()
        point.col_value = start
        solver.setSolution(point)
    if on_point is not None:

        def improved(event: Any) -> None:
            on_point(np.array(event.data_out.mip_solution))

        solver.cbMipImprovingSolution.subscribe(improved)
    if interrupt:

        def stop_in_time(event: Any) -> None:
            if seconds() <= 0.0:
                event.interrupt()

        solver.cbMipInterrupt.subscribe(stop_in_time)
        solver.cbSimplexInterrupt.subscribe(stop_in_time)
    solver.setOptionValue("time_limit", max(0.001, seconds() - reserve))
    solver.run()
    info, solution = solver.getInfo(), solver.getSolution()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    return Outcome(
        x=np.array(solution.col_value) if found else None,
        bound=float(info.mip_dual_bound),
        optimal=solver.getModelStatus() == highspy.HighsModelStatus.kOptimal,
        row_dual=np.array(solution.row_dual),
    )


def _highs_lp(program: MixedIntegerProgram) -> Any:
    """Convert a program to the class that HiGHS reads."""
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = program.matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.cost, program.lower, program.upper
    lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = program.matrix.indptr, program.matrix.indices
    lp.a_matrix_.value_ = program.matrix.data
    if program.integer.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[whole] for whole in program.integer.tolist()]
    return lp
