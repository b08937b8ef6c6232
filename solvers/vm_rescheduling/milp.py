"""The aggregated model by mixed-integer programming, on HiGHS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import highspy
import numpy as np

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import FRAGMENT, FREE, Static, make_state, make_static
from ...envs.vm_rescheduling.objective import goal_reached
from . import greedy
from .aggregated import Model, build, counts_of, objective_bound, point_of
from .aggregated_rows import own_flavors
from .expand import expand

GREEDY_SHARE, GREEDY_PLANS = 0.2, 300
RESERVE_S = 0.01
RESERVE_A_COLUMN_S = 3e-6  # HiGHS looks at the clock late, the later the larger the model
LEAST_A_COLUMN_S = 7e-5  # in less it has found nothing yet, and does not look at all
LEAST_S = 0.15  # with less left, handing over a model is not worth it
SAME = 1e-9
MAX_ROUNDS = 8  # Dinkelbach's method converges in two or three
MOST_SET_COLUMNS = 40_000


Seconds = Callable[[], float]
Report = Callable[[np.ndarray], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a solver found: its best point, if any, and its lower bound on the cost."""

    x: np.ndarray | None
    bound: float


class ModelSolver(Protocol):
    """Solves a model; arguments as for `run_highs`."""

    def __call__(
        self, model: Model, seconds: Seconds, seed: int, point: np.ndarray | None, on_point: Report
    ) -> Outcome:
        """Solves it."""


def solve(instance: Cluster, budget: Budget, seed: int) -> Solution:
    """Plans by the aggregated model with HiGHS on one thread; one evaluation is one plan looked at.

    Begins with greedy plans, which also warm-start HiGHS. The status is "optimal" where the
    executed plan meets the proven bound of the model.
    """
    return plan_by_model(instance, budget, seed, run_highs)


def plan_by_model(
    instance: Cluster, budget: Budget, seed: int, solve_model: ModelSolver
) -> Solution:
    """Greedy plans, then the aggregated model by `solve_model`, expanded to executable plans.

    Deployment sets are left to `expand` first. Where its plan misses the bound, the model is solved
    again with a flavor for each of their members, kept apart, unless that makes it too large.

    Where VMs may leave PMs that do not count, the fragment rate is a fraction of two linear terms:
    the model is then solved for slots - ratio * free with the ratio of the best plan so far, until
    that gains nothing more (Dinkelbach 1967).
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    rng = np.random.default_rng(seed)
    plans = min(GREEDY_PLANS, max(1, (budget.evaluations or GREEDY_PLANS * 2) // 2))
    best, best_value = greedy.search(
        instance, static, start, clock, rng, GREEDY_SHARE * budget.seconds, plans
    )
    apart = own_flavors(static)
    bound = 0.0 if goal_reached(static, start.totals) else None

    def take(form: Static, model: Model, x: np.ndarray) -> None:
        nonlocal best, best_value
        plan, reached = expand(form, start, *counts_of(model, x), rng)
        clock.evaluations += 1
        if reached < best_value - SAME:
            best, best_value = plan, reached
            clock.incumbent(best)

    form = static
    for _ in range(MAX_ROUNDS):
        if clock.remaining < LEAST_S or clock.expired or goal_reached(static, start.totals):
            break
        end = greedy.after(static, start, best)
        slots = (end.totals[FREE] - end.totals[FRAGMENT]) // static.unit
        ratio = float(slots / max(1, end.totals[FREE]))
        sets = form is apart
        model = build(form, start, instance.mnl, slots_per_core=ratio, sets=sets)
        before = best_value
        outcome = solve_model(
            model,
            lambda: clock.remaining - RESERVE_S,
            seed,
            point_of(model, form, start, end),
            partial(take, form, model),
        )
        if outcome.x is not None:
            take(form, model, outcome.x)
        proven = objective_bound(model, form, start, outcome.bound, instance.mnl)
        if proven is not None:
            bound = max(0.0, proven) if bound is None else max(bound, proven)
            if best_value <= bound + SAME:
                break
        if model.leaves_inactive and best_value < before - SAME:
            continue
        members = len(apart.flavor_cpu) - len(static.flavor_cpu)
        if sets or members == 0 or members * 2 * instance.n_pms > MOST_SET_COLUMNS:
            break
        form = apart
    if bound is not None and best_value > bound + SAME and clock.remaining > RESERVE_S:
        longer, reached = greedy.complete(instance, static, start, best, rng)
        if reached < best_value - SAME:
            best, best_value = longer, reached
    proved = bound is not None and best_value <= bound + SAME
    return clock.solution(best, "optimal" if proved else "feasible", bound)


def run_highs(
    model: Model,
    seconds: Seconds,
    seed: int,
    point: np.ndarray | None = None,
    on_point: Report | None = None,
) -> Outcome:
    """Solves the model.

    Args:
        model: the model.
        seconds: how many are left; with too few for a model of this size, nothing is done.
        seed: of HiGHS.
        point: where to start.
        on_point: told each better point on the way.
    """
    reserve = RESERVE_A_COLUMN_S * len(model.cost)
    if seconds() < LEAST_A_COLUMN_S * len(model.cost):
        return Outcome(None, -np.inf)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(model.cost), len(model.row_lower)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = model.cost, np.zeros(lp.num_col_), model.upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = model.matrix.indptr, model.matrix.indices
    lp.a_matrix_.value_ = model.matrix.data
    lp.integrality_ = [highspy.HighsVarType.kInteger] * lp.num_col_
    solver = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": 1,
        "random_seed": seed % 2**31,
        "mip_rel_gap": 0.0,
        # On this model these two cost more than they save.
        "mip_detect_symmetry": False,
        "mip_heuristic_run_feasibility_jump": False,
        # Where costs are whole numbers, a gap below 1 is none.
        "mip_abs_gap": 0.999 if model.whole else 1e-6,
    }
    for name, setting in options.items():
        solver.setOptionValue(name, setting)
    solver.passModel(lp)
    # With costs that are not whole numbers, HiGHS spends seconds on conflicts from a given point
    # and does not look at the clock meanwhile.
    if point is not None and model.whole:
        whole = highspy.HighsSolution()
        whole.col_value = point
        solver.setSolution(whole)
    if on_point is not None:

        def improved(event: Any) -> None:
            on_point(np.array(event.data_out.mip_solution))

        solver.cbMipImprovingSolution.subscribe(improved)

    def stop_in_time(event: Any) -> None:
        # Inside one long step HiGHS asks this more often than it looks at its own time limit.
        if seconds() <= 0.0:
            event.interrupt()

    solver.cbMipInterrupt.subscribe(stop_in_time)
    solver.cbSimplexInterrupt.subscribe(stop_in_time)
    solver.setOptionValue("time_limit", max(0.0, seconds() - reserve))
    solver.run()
    info = solver.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    x = np.array(solver.getSolution().col_value) if found else None
    return Outcome(x, float(info.mip_dual_bound))
