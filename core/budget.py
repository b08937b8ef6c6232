"""Budgets of contenders, and the clock that measures what a run spends."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from .errors import SettingError
from .solution import Incumbent, Solution, Status


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one run of a contender on one instance.

    Attributes:
        seconds: wall-clock seconds from the instance to the plan.
        evaluations: number of candidate plans (or what the family counts), or None for no limit.

    Raises:
        SettingError: a limit is not a positive finite number.
    """

    seconds: float
    evaluations: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise SettingError(
                f"budget: {self.seconds} seconds cannot be spent; give a positive number of seconds"
            )
        if self.evaluations is not None and self.evaluations < 1:
            raise SettingError(
                f"budget: {self.evaluations} evaluations; give at least 1, or none for no limit"
            )

    def start(self) -> Clock:
        """Start the clock of a run; a contender calls this before anything else."""
        return Clock(self)


class Clock:
    """Clock of one run: what it has spent, and its improving plans for the anytime curve.

    Attributes:
        budget: the run's limits.
        evaluations: candidate plans evaluated so far; the contender counts them.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.evaluations = 0
        self._incumbents: list[Incumbent] = []
        self._started = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def remaining(self) -> float:
        """Wall-clock seconds until the budget is spent; 0.0 afterwards."""
        return max(0.0, self.budget.seconds - self.elapsed)

    @property
    def expired(self) -> bool:
        """Whether the seconds or the evaluations are spent."""
        limit = self.budget.evaluations
        return self.remaining <= 0.0 or (limit is not None and self.evaluations >= limit)

    def incumbent(self, actions: ArrayLike) -> None:
        """Record a plan that is better than every plan recorded before.

        Args:
            actions: int64, one row per environment step, as in `Solution`.
        """
        self._incumbents.append(Incumbent(self.elapsed, np.asarray(actions, dtype=np.int64)))

    def remaining_budget(self) -> Budget:
        """Return the budget of a solver that is started within this run.

        Returns:
            The seconds and evaluations that remain, at least 1 ms and one evaluation.
        """
        limit = self.budget.evaluations
        evaluations = None if limit is None else max(1, limit - self.evaluations)
        return Budget(max(1e-3, self.remaining), evaluations)

    def finish_with(self, solution: Solution, asked: float) -> Solution:
        """Return the solution of a solver started within this run as this run's own.

        Args:
            solution: what that solver returned.
            asked: seconds into this run at which that solver was started.

        Returns:
            The solution, its incumbents' times shifted by `asked`.
        """
        later = (Incumbent(i.seconds + asked, i.actions) for i in solution.incumbents)
        return replace(solution, incumbents=tuple(later))

    def solution(
        self, actions: ArrayLike, status: Status = "feasible", bound: float | None = None
    ) -> Solution:
        """Return a plan as the run's solution, with all incumbents recorded so far.

        Args:
            actions: int64, one row per environment step, as in `Solution`; recorded as the last
                incumbent.
            status: "optimal" if the method proves that no plan is better.
            bound: proven bound on the objective, in its unit and direction; None without a proof.
        """
        plan = np.asarray(actions, dtype=np.int64)
        last = self._incumbents[-1].actions if self._incumbents else None
        if last is None or not np.array_equal(last, plan):
            self.incumbent(plan)
        return Solution(plan, status, bound, tuple(self._incumbents))
