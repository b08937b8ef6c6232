"""Plan with the aggregated model: solve it, expand its points, solve it again where that pays."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import (
    ADMISSION,
    FRAGMENT,
    FREE,
    State,
    Static,
    make_state,
    make_static,
)
from ...envs.vm_rescheduling.objective import goal_reached
from .. import highs
from ..highs import Outcome, Report, Seconds
from . import greedy, local_search
from .aggregated import Model, build, counts_of, objective_bound, point_of
from .aggregated_rows import own_flavors
from .expand import expand
from .minimal import finish

GREEDY_SHARE, GREEDY_PLANS = 0.2, 300
RESERVE_S = 0.01
RESERVE_A_COLUMN_S = 3e-6  # HiGHS reads its clock late, later for larger models
LEAST_A_COLUMN_S = 7e-5  # in less time it finds no point, and ignores its limit
LEAST_S = 0.15  # least time for which a model is built
SAME = 1e-9
MAX_ROUNDS = 8  # Dinkelbach's method converges in two or three
MOST_SET_COLUMNS = 40_000


class ModelSolver(Protocol):
    """A solver of aggregated models; `run_highs` is one."""

    def __call__(
        self, model: Model, seconds: Seconds, seed: int, point: np.ndarray | None, on_point: Report
    ) -> Outcome:
        """Solve a model; the arguments are those of `run_highs`."""


def plan_by_model(
    instance: Cluster, budget: Budget, seed: int, solve_model: ModelSolver
) -> Solution:
    """Make greedy plans, then solve the aggregated model and expand its points to plans.

    Deployment sets are left to `expand` first. Where its plan misses the bound, the model is solved
    again with a flavor for the members of each set, kept apart, unless that makes it too large.

    Where VMs may leave PMs that are not ACTIVE, the fragment rate is a fraction of two linear
    terms: the model is then solved for slots - ratio * free with the ratio of the best plan so far,
    until that brings no better plan (Dinkelbach 1967).

    The objective admission depends on both nodes of a host together, which counts of VMs by node do
    not say: the local search plans instead.

    Args:
        instance: the cluster.
        budget: seconds and evaluations; one evaluation is one greedy plan, or one point expanded.
        seed: seed of the greedy plans, the order of moves, and the model's solver.
        solve_model: solves the model.

    Returns:
        The best plan; "optimal" where it meets the proven bound of the model.
    """
    clock = budget.start()
    static = make_static(instance)
    start = make_state(instance, static)
    if static.objective == ADMISSION:
        return local_search.search(instance, clock, seed)
    rng = np.random.default_rng(seed)
    plans = min(GREEDY_PLANS, max(1, (budget.evaluations or GREEDY_PLANS * 2) // 2))
    best, best_value = greedy.search(
        instance, static, start, clock, rng, GREEDY_SHARE * budget.seconds, plans
    )
    bound = 0.0 if goal_reached(static, start.totals) else None
    form = static
    for _ in range(MAX_ROUNDS):
        if clock.remaining < LEAST_S or clock.expired or goal_reached(static, start.totals):
            break
        before = best_value
        best, best_value, proven, again = solve_form(
            form, static, start, best, best_value, clock, clock.budget.seconds, seed, rng,
            solve_model,
        )  # fmt: skip
        if proven is not None:
            bound = max(0.0, proven) if bound is None else max(bound, proven)
            if best_value <= bound + SAME:
                break
        if again and best_value < before - SAME:
            continue
        apart = kept_apart(static) if form is static else None
        if apart is None:
            break
        form = apart
    if bound is not None and best_value > bound + SAME and clock.remaining > RESERVE_S:
        longer, reached = greedy.complete(instance, static, start, best, rng, clock)
        if reached < best_value - SAME:
            best, best_value = longer, reached
    proved = bound is not None and best_value <= bound + SAME
    return finish(clock, static, start, best, "optimal" if proved else "feasible", bound)


def kept_apart(static: Static) -> Static | None:
    """Return the form of a cluster whose model keeps deployment sets apart; see `solve_form`.

    Returns:
        A result of `own_flavors`; None if there are no sets, or if its model would be too large.
    """
    apart = own_flavors(static)
    new = len(apart.flavor_cpu) - len(static.flavor_cpu)
    return apart if 0 < new * 2 * len(static.pm_status) <= MOST_SET_COLUMNS else None


def solve_form(
    form: Static,
    static: Static,
    start: State,
    best: np.ndarray,
    best_value: float,
    clock: Clock,
    until: float,
    seed: int,
    rng: np.random.Generator,
    solve_model: ModelSolver,
) -> tuple[np.ndarray, float, float | None, bool]:
    """Solve one aggregated model and expand its points.

    Args:
        form: the cluster, or a result of `kept_apart`, for the model that keeps sets apart.
        static: the cluster.
        start: the state before the plan.
        best: int64 plies of the best plan so far, from which the model's solver starts.
        best_value: its objective.
        clock: counts the points expanded and records incumbents.
        until: seconds into the run at which the model's solver ends.
        seed: seed of the model's solver.
        rng: draws the order of moves.
        solve_model: solves the model.

    Returns:
        The best plan and its objective; the proven bound on the objective, if any; and whether a
        better plan would change the model (Dinkelbach's method).
    """
    end = greedy.after(static, start, best)
    slots = (end.totals[FREE] - end.totals[FRAGMENT]) // static.unit
    ratio = float(slots / max(1, end.totals[FREE]))
    model = build(form, start, static.mnl, slots_per_core=ratio, sets=form is not static)

    def take(x: np.ndarray) -> None:
        nonlocal best, best_value
        plan, reached = expand(form, start, *counts_of(model, x), rng)
        clock.evaluations += 1
        if reached < best_value - SAME:
            best, best_value = plan, reached
            clock.incumbent(best)

    outcome = solve_model(
        model,
        lambda: min(clock.remaining - RESERVE_S, until - clock.elapsed),
        seed,
        point_of(model, form, start, end),
        take,
    )
    if outcome.x is not None:
        take(outcome.x)
    bound = objective_bound(model, form, start, outcome.bound, static.mnl)
    return best, best_value, bound, model.leaves_inactive


def run_highs(
    model: Model,
    seconds: Seconds,
    seed: int,
    point: np.ndarray | None = None,
    on_point: Report | None = None,
) -> Outcome:
    """Solve an aggregated model with HiGHS.

    Args:
        model: the model, of C columns.
        seconds: returns the wall-clock seconds left; with too few for a model of this size, no run
            begins.
        seed: seed of HiGHS.
        point: float64 [C]; a feasible point to start from.
        on_point: called with each better point, float64 [C].

    Returns:
        The best point found, if any, and the proven bound on the model's cost.
    """
    columns = len(model.program.cost)
    if seconds() < LEAST_A_COLUMN_S * columns:
        return Outcome()
    return highs.solve(
        model.program,
        seconds,
        seed=seed,
        reserve=RESERVE_A_COLUMN_S * columns,
        # Where costs are whole numbers, a gap below 1 proves optimality.
        gap=0.999 if model.whole else 1e-6,
        # With costs that are not whole numbers, HiGHS spends seconds on conflicts from a given
        # point and does not look at the clock meanwhile.
        start=point if model.whole else None,
        on_point=on_point,
    )
