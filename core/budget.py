"""Budget: what a contender may spend, and the clock that counts it."""

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
    """What a contender may spend on one instance.

    Attributes:
        seconds: wall-clock seconds from the instance to the plan.
        evaluations: candidate evaluations (the family says what one is), or None for no limit.

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
        """Starts the clock; a contender calls this first."""
        return Clock(self)


class Clock:
    """Counts one contender's spending and keeps its improving plans, for the anytime curve."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.evaluations = 0
        self._incumbents: list[Incumbent] = []
        self._started = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def remaining(self) -> float:
        """Seconds left; 0 when the budget is spent."""
        return max(0.0, self.budget.seconds - self.elapsed)

    @property
    def expired(self) -> bool:
        """Whether the seconds or the evaluations are spent."""
        limit = self.budget.evaluations
        return self.remaining <= 0.0 or (limit is not None and self.evaluations >= limit)

    def incumbent(self, actions: ArrayLike) -> None:
        """Records a plan better than every one recorded before."""
        self._incumbents.append(Incumbent(self.elapsed, np.asarray(actions, dtype=np.int64)))

    def left(self) -> Budget:
        """What another contender may still spend for this one, at least a millisecond and one
        evaluation.
        """
        limit = self.budget.evaluations
        evaluations = None if limit is None else max(1, limit - self.evaluations)
        return Budget(max(1e-3, self.remaining), evaluations)

    def adopt(self, solution: Solution, asked: float) -> Solution:
        """Ends the run with the solution of a contender that was asked after so many seconds."""
        later = (Incumbent(i.seconds + asked, i.actions) for i in solution.incumbents)
        return replace(solution, incumbents=tuple(later))

    def solution(
        self, actions: ArrayLike, status: Status = "feasible", bound: float | None = None
    ) -> Solution:
        """Ends the run: the plan, what the method proves of it, and the incumbents on the way."""
        plan = np.asarray(actions, dtype=np.int64)
        last = self._incumbents[-1].actions if self._incumbents else None
        if last is None or not np.array_equal(last, plan):
            self.incumbent(plan)
        return Solution(plan, status, bound, tuple(self._incumbents))
