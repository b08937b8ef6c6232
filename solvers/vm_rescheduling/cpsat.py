"""The aggregated model by constraint programming, with OR-tools' CP-SAT."""

from __future__ import annotations

from functools import partial

import numpy as np
from ortools.sat.python import cp_model

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...methods.highs import Outcome, Report, Seconds
from ...methods.vm_rescheduling.aggregated import Model
from ...methods.vm_rescheduling.aggregated_search import plan_by_model
from ...methods.vm_rescheduling.two_nodes import for_any_hosts

LEAST_A_COLUMN_S = 4e-5  # building the model and starting the search take about half of this
COST_DIGITS = 10**6  # fractional costs are rounded to the inverse of this


@for_any_hosts
def solve(instance: Cluster, budget: Budget, seed: int, workers: int = 1) -> Solution:
    """Plan as milp does, with CP-SAT in place of HiGHS.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one plan executed, greedy or from the
            model.
        seed: draws the greedy plans and the order of moves, and seeds CP-SAT.
        workers: threads of CP-SAT.
    """
    return plan_by_model(instance, budget, seed, partial(run_cpsat, workers=workers))


class _Reporter(cp_model.CpSolverSolutionCallback):
    """Report each better point."""

    def __init__(self, columns: list[cp_model.IntVar], on_point: Report) -> None:
        super().__init__()
        self._columns, self._on_point = columns, on_point

    def on_solution_callback(self) -> None:
        """Report the point that CP-SAT has just found, float64 [C]."""
        self._on_point(np.array([self.value(column) for column in self._columns], np.float64))


def run_cpsat(
    model: Model,
    seconds: Seconds,
    seed: int,
    point: np.ndarray | None,
    on_point: Report,
    workers: int = 1,
) -> Outcome:
    """Solve an aggregated model with CP-SAT.

    The rounded CPU rows are left out: CP-SAT needs whole coefficients and finds such cuts itself.

    Args:
        model: the model, of C columns.
        seconds: returns the wall-clock seconds left; with too few for a model of this size, no run
            begins.
        seed: of CP-SAT.
        point: float64 [C]; a hint of where to start.
        on_point: called with each better point, float64 [C].
        workers: threads of CP-SAT.

    Returns:
        The best point found, if any, and the proven bound on the model's cost.
    """
    program = model.program
    if seconds() < LEAST_A_COLUMN_S * len(program.cost):
        return Outcome()
    cp = cp_model.CpModel()
    columns = [cp.new_int_var(0, int(most), "") for most in program.upper]
    rows = program.matrix.tocsr()
    for i in np.flatnonzero(~model.implied):
        at = slice(rows.indptr[i], rows.indptr[i + 1])
        factors, low, high = rows.data[at], program.row_lower[i], program.row_upper[i]
        if len(factors) == 0:
            continue
        if (factors != np.rint(factors)).any():
            # Only the goal's row, a lower limit: rounded this way it cuts off nothing.
            factors, low = np.ceil(factors * COST_DIGITS), np.floor(low * COST_DIGITS)
        factors = factors.astype(np.int64)
        shared = int(np.gcd.reduce(factors))
        total = cp_model.LinearExpr.weighted_sum(
            [columns[j] for j in rows.indices[at]], (factors // shared).tolist()
        )
        least = int(np.ceil(low / shared)) if np.isfinite(low) else cp_model.INT_MIN
        most = int(high // shared) if np.isfinite(high) else cp_model.INT_MAX
        cp.add_linear_constraint(total, least, most)
    scale = 1 if model.whole else COST_DIGITS
    cost = np.rint(program.cost * scale).astype(np.int64)
    cp.minimize(cp_model.LinearExpr.weighted_sum(columns, cost.tolist()))
    if point is not None:
        for column, hint in zip(columns, point.tolist(), strict=True):
            cp.add_hint(column, int(hint))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed % 2**31
    # Long presolve and symmetry detection leave no time to search in budgets of seconds.
    solver.parameters.max_presolve_iterations = 1
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.symmetry_level = 0
    solver.parameters.linearization_level = 2
    solver.parameters.max_time_in_seconds = max(0.001, seconds())
    status = solver.solve(cp, _Reporter(columns, on_point))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Outcome()
    x = np.array([solver.value(column) for column in columns], np.float64)
    # Rounding moves the cost by at most half a digit for all that a rounded column can count.
    slip = 0.5 / scale * float(program.upper[program.cost * scale != cost].sum())
    bound = solver.best_objective_bound / scale - slip
    return Outcome(x, bound, optimal=status == cp_model.OPTIMAL)
