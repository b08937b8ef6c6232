"""The objective of sequence parallelism: how long the training steps take."""

from __future__ import annotations

import numpy as np

from ...core.contracts import Objective
from ...datasets.sequence_parallelism.instance import TrainingBatch
from .groups import Kinds

STEP_TIME = Objective("step_time_ms", "minimize", "ms")


def objective_of(batch: TrainingBatch) -> Objective:
    """Name, direction and unit of the batch's objective."""
    return STEP_TIME


def work_bound(batch: TrainingBatch, kinds: Kinds) -> float:
    """Return a lower bound of the objective in ms, the unit of rewards.

    Each sequence takes at least the device-milliseconds of the kind that wastes least, those of all
    devices are all there are, and each step has one micro-batch at least.

    Args:
        batch: the instance.
        kinds: its kinds of groups.
    """
    lengths = batch.lengths.astype(np.float64)[:, None]
    work = kinds.degree * (kinds.quadratic * lengths**2 + kinds.linear * lengths)
    fits = batch.lengths[:, None] <= kinds.capacity
    least = np.where(fits, work, np.inf).min(axis=1)
    fixed = kinds.constant.min() * batch.n_steps
    return float(least.sum() / kinds.devices.sum() + fixed)
