"""The best plans of a batch's steps, and the run in which they are found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_parallelism.instance import TrainingBatch
from .bounds import simple_bound
from .grouping import Grouping, Work, joined_actions, step_time, steps_of
from .opening import least_batches, open_groups

RESERVE_S, RESERVE_A_SEQUENCE_S = 8e-4, 1.5e-6  # for handing over a plan
APART = 0.1  # of the seconds spent, between two incumbents: each is a plan to write down


class Best:
    """The best plan of each of R steps, and the time that is left for better ones.

    Attributes:
        clock: of the run.
        works: the steps.
        bounds: lower bounds on their times, ms.
        plans: the best plan of each step.
        times: ms that each takes.
        pace: seconds that the last try of limits took, the least that another is begun with.
    """

    def __init__(self, instance: TrainingBatch, clock: Clock) -> None:
        self.instance, self.clock = instance, clock
        self.works = steps_of(instance)
        self.bounds = [simple_bound(work) for work in self.works]
        self.plans: list[Grouping] = []
        self.times: list[float] = []
        self.until = self.pace = 0.0
        self._reserve = RESERVE_S + RESERVE_A_SEQUENCE_S * len(instance.lengths)
        self._recorded = -1.0

    @property
    def left(self) -> float:
        """Seconds until the end of what the step being planned may take."""
        return 0.0 if self.clock.expired else self.until - self.clock.elapsed

    def allow(self, share: float) -> None:
        """Give the step that is planned next its time.

        Args:
            share: of the seconds that are left.
        """
        elapsed = self.clock.elapsed
        left = self.clock.budget.seconds - self._reserve - elapsed
        self.until = elapsed + share * left

    def offer(self, step: int, plan: Grouping) -> bool:
        """Keep a plan if it is the best of its step, and say whether it is.

        Args:
            step: number of the step.
            plan: its groups.
        """
        reached = step_time(self.works[step], plan)
        if step == len(self.plans):
            self.plans.append(plan)
            self.times.append(reached)
        elif reached < self.times[step] - 1e-9:
            self.plans[step], self.times[step] = plan, reached
        else:
            return False
        elapsed = self.clock.elapsed
        if len(self.plans) == len(self.works) and elapsed > (1 + APART) * self._recorded:
            self.clock.incumbent(joined_actions(self.instance, self.plans))
            self._recorded = elapsed
        return True

    def solution(self, bound: float | None = None) -> Solution:
        """Return the best plans as the run's solution.

        Args:
            bound: proven bound on the batch's time, ms.
        """
        proven = bound is not None and sum(self.times) <= bound * (1 + 1e-9)
        actions = joined_actions(self.instance, self.plans)
        return self.clock.solution(actions, "optimal" if proven else "feasible", bound)


Planner = Callable[[Best, int, np.random.Generator], None]


def first_plan(work: Work) -> Grouping:
    """Return a plan at once: as many micro-batches as tokens need, without a limit of time.

    Args:
        work: the step.
    """
    limits = np.full(least_batches(work), np.inf)
    return open_groups(work, limits, np.ones(len(work.degree))).plan


def plan_steps(
    instance: TrainingBatch,
    budget: Budget,
    seed: int,
    planner: Planner | None,
    first: Callable[[Work], Grouping] = first_plan,
) -> Best:
    """Plan all steps of a batch, each in an equal part of the time.

    Args:
        instance: the batch.
        budget: seconds, and evaluations: plans that are built, or that a change leads to.
        seed: of all draws.
        planner: plans a step until `Best.left` is 0, and offers plans; None for first plans only.
        first: makes a step's first plan, at once.
    """
    best = Best(instance, budget.start())
    rng = np.random.default_rng(seed)
    for step, work in enumerate(best.works):
        best.offer(step, first(work))
        best.clock.evaluations += 1
    for step in range(len(best.works)):
        best.allow(1 / (len(best.works) - step))
        if planner:
            planner(best, step, rng)
    return best
