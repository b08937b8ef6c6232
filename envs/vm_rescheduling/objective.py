"""The objectives of VM rescheduling, from the totals that the dynamics keep.

FR = sum over NUMA nodes of (free mod 16) / sum of free, over ACTIVE PMs (VMR2L, EuroSys 2025,
section 2).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.contracts import Objective
from ...datasets.hosts import LARGE_CORES
from ...datasets.vm_rescheduling.instance import Cluster
from .dynamics import (
    ADMISSION,
    DRAIN,
    FRAGMENT,
    FRAGMENT_RATE,
    FREE,
    LARGE_SLOTS,
    MEM_FRAGMENT,
    MEM_FREE,
    MIXED,
    MOVES,
    MOVES_TO_GOAL,
    ON_DRAIN,
    ROOM,
    Static,
)
from .rooms import POINTS

REWARD_CORES = 128.0  # the published reward is fragment cores removed / 128

OBJECTIVE_OF = {
    "fragment_rate": Objective("fragment_rate", "minimize", "fraction of free cores"),
    "mixed": Objective("mixed", "minimize", "weighted fragment rates"),
    "moves_to_goal": Objective("moves_to_goal", "minimize", "moves"),
    "drain": Objective("drain", "minimize", "VMs left on drained hosts + fragment rate"),
    "admission": Objective("admission", "minimize", "% of the room for arrivals that is lost"),
}


def objective_of(cluster: Cluster) -> Objective:
    """Return name, direction and unit of the cluster's objective."""
    return OBJECTIVE_OF[cluster.objective]


@njit(cache=True)
def fragment_rate(totals: np.ndarray) -> float:
    """Return FR from `State.totals`, int64 [8]; 0 where no CPU is free."""
    return float(totals[FRAGMENT] / totals[FREE]) if totals[FREE] > 0 else 0.0


@njit(cache=True)
def goal_reached(static: Static, totals: np.ndarray) -> bool:
    """Return whether FR has reached the goal rate, which ends an episode of moves_to_goal.

    Args:
        static: the cluster, as arrays.
        totals: `State.totals`, int64 [8].
    """
    return bool(static.objective == MOVES_TO_GOAL and fragment_rate(totals) <= static.goal_rate)


@njit(cache=True)
def room_lost(static: Static, points: int) -> float:
    """Return the objective admission, in %: 0 if all ACTIVE PMs are empty, 100 if all are full.

    Args:
        static: the cluster, as arrays.
        points: `State.totals[ROOM]`.
    """
    most = static.room_empty - static.room_full
    return float(100.0 * (static.room_empty - points) / most) if most > 0 else 0.0


@njit(cache=True)
def value(static: Static, totals: np.ndarray) -> float:
    """Return the objective, lower is better.

    fragment_rate: FR.
    mixed: weights . (FR, 1 - 64 * (64-core slots) / (free cores), sum over NUMA nodes of
        (free memory mod 64 GiB) / (free memory)), the weights scaled to sum to 1; a 64-core VM
        takes 32 cores on each node of a PM of two.
    moves_to_goal: moves made if FR <= goal_rate, else mnl + the 16-core slots still missing.
    drain: VMs left on the hosts to drain, plus FR.
    admission: the room lost, in % of that of the same PMs if empty; see rooms.py.

    Args:
        static: the cluster, as arrays.
        totals: `State.totals`, int64 [8].
    """
    rate = float(fragment_rate(totals))
    if static.objective == FRAGMENT_RATE:
        return rate
    if static.objective == MIXED:
        large = static.unit * LARGE_CORES // 16
        rate_64 = 1.0 - large * totals[LARGE_SLOTS] / totals[FREE] if totals[FREE] > 0 else 0.0
        rate_mem = totals[MEM_FRAGMENT] / totals[MEM_FREE] if totals[MEM_FREE] > 0 else 0.0
        w = static.weights
        return float(w[0] * rate + w[1] * rate_64 + w[2] * rate_mem)
    if static.objective == DRAIN:
        return float(totals[ON_DRAIN] + rate)
    if static.objective == ADMISSION:
        return float(room_lost(static, totals[ROOM]))
    if rate <= static.goal_rate:
        return float(totals[MOVES])
    missing = np.ceil((rate - static.goal_rate) * totals[FREE] / static.unit - 1e-9)
    return float(static.mnl + missing)


@njit(cache=True)
def reward_scale(static: Static, totals: np.ndarray) -> float:
    """Return the factor of rewards: reward = (objective before - objective after) * scale.

    For FR that is the fragment cores removed / 128, as published (VMR2L); for admission the
    potential won / 128, which is about one a core; 1 / 8 for moves_to_goal and drain.

    Args:
        static: the cluster, as arrays.
        totals: `State.totals`, int64 [8].
    """
    if static.objective == FRAGMENT_RATE or static.objective == MIXED:
        return float(totals[FREE] * 16 / static.unit / REWARD_CORES)
    if static.objective == ADMISSION:
        return float((static.room_empty - static.room_full) / (100.0 * POINTS * REWARD_CORES))
    return 1.0 / 8.0
