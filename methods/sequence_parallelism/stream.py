"""Plan a stream of training steps while training goes on: each step during the one before it.

Training waits for a plan that is not ready when the step before it ends, and for the first one. A
plan takes time on a processor that training does not use.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...datasets.sequence_parallelism.instance import TrainingBatch
from ...envs.sequence_parallelism.dynamics import MICRO_BATCHES
from ...envs.sequence_parallelism.plan import carried_out


class Planned(NamedTuple):
    """A stream of R steps as it was trained on.

    Attributes:
        step_ms: float64 [R]; what each step takes.
        planning_ms: float64 [R]; what planning it took.
        waiting_ms: float64 [R]; how long training waited for its plan.
    """

    step_ms: np.ndarray
    planning_ms: np.ndarray
    waiting_ms: np.ndarray

    @property
    def total_ms(self) -> float:
        """Milliseconds from the begin of planning to the end of training."""
        return float((self.step_ms + self.waiting_ms).sum())


Plan = Callable[[TrainingBatch, float], np.ndarray]
"""A batch of one step, and the seconds that planning may take -> the actions of its plan."""


def split_steps(batch: TrainingBatch) -> list[TrainingBatch]:
    """Return each of a batch's R steps as a batch of its own."""
    return [
        dataclasses.replace(
            batch,
            name=f"{batch.name}/step {step}",
            lengths=batch.lengths[batch.step == step],
            step=np.zeros(int((batch.step == step).sum()), np.int64),
        )
        for step in range(batch.n_steps)
    ]


def train_on(
    batch: TrainingBatch,
    seconds: float,
    plan: Plan,
    clock: Callable[[], float] = time.perf_counter,
) -> Planned:
    """Plan and train a stream.

    Args:
        batch: of R steps.
        seconds: that planning a step may take at most; it may not take longer than the step before.
        plan: plans one step.
        clock: gives seconds.

    Raises:
        SolutionError: a plan is not legal to its end.
    """
    steps, planning, waiting = list[float](), list[float](), list[float]()
    for number, one in enumerate(split_steps(batch)):
        given = min(seconds, steps[-1] / 1e3) if number else seconds
        began = clock()
        actions = plan(one, given)
        planning.append(1e3 * (clock() - began))
        waiting.append(max(0.0, planning[-1] - (steps[-1] if number else 0.0)))
        (state,) = carried_out(one, actions).states
        steps.append(float(state.longest[: state.counts[MICRO_BATCHES]].sum()))
    return Planned(np.array(steps), np.array(planning), np.array(waiting))
