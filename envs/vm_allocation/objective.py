"""The objective: rejected core-hours, in % of those asked for."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.contracts import Objective
from ...datasets.vm_allocation.instance import HOUR_S, OBJECTIVE, DataCenter
from .dynamics import ASKED, REJECTED


def objective_of(center: DataCenter) -> Objective:
    """Return the objective: core-hours of rejected requests over those of all, in %.

    A request counts from its arrival to its exit or the horizon, whichever comes first. Those that
    are there at the start or arrive in the warm-up do not count.

    Args:
        center: the data center.
    """
    return Objective(OBJECTIVE, "minimize", "% of core-hours")


@njit(cache=True)
def rejected_so_far(numbers: np.ndarray) -> float:
    """Return the rejected % of the core-hours that have been asked for by now; 0 before any.

    Args:
        numbers: of the state, int64 [16].
    """
    asked = numbers[ASKED]
    return 100.0 * numbers[REJECTED] / asked if asked > 0 else 0.0


def reward_scale(center: DataCenter) -> float:
    """Return what a rejected unit of CPU costs a second: a return of -100 is as much as all hosts
    could have given in the hours that count.

    Args:
        center: the data center.
    """
    hours = center.horizon_h - center.warm_up_h
    return 100.0 / (float(center.numa_cpu.sum()) * hours * HOUR_S)
