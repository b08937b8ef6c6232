"""Choose among policies by playing each in worlds of the process that a data center tells.

What is told of a data center (flavors, lifetimes, arrivals an hour) is enough to draw worlds like
the one to come, and compiled code plays one in a tenth of a second. So a policy that was trained
elsewhere can be tried on the data center in hand before its first request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from ...core.budget import Budget
from ...datasets.vm_allocation.instance import DataCenter
from .playing import packed_world

SHARE = 0.1  # of the episode's seconds
LEAST, MOST = 8, 64  # worlds; with fewer than the least that there is time for, none is played
REQUEST_S, HOST_S = 3e-6, 14e-9  # compiled play, about: a request, and each host that it looks at
SLOWER = 3.0  # times as long as that, and the rehearsal ends early
MIGRATING = 1.6  # times as long as without migrations

Play = Callable[[np.ndarray], float]
"""Plays a world from `packed_world` in place; returns the rejected % of the core-hours."""


def best_of(plays: Sequence[Play], center: DataCenter, budget: Budget, seed: int) -> int:
    """Return which of several policies turns away least on average; of equal ones the first.

    Args:
        plays: the policies, made ready for the data center.
        center: as contenders see it: without its trace.
        budget: of the episode.
        seed: draws the worlds.
    """
    limit_s = SHARE * budget.seconds
    each_s = max(1.0, center.expected_requests) * (REQUEST_S + HOST_S * center.n_pms)
    each_s *= MIGRATING if center.period_moves else 1.0
    count = int(min(MOST, limit_s / (each_s * len(plays))))
    if count < LEAST:
        return 0
    began, seeds = time.perf_counter(), np.random.default_rng(seed).integers(2**32, size=count)
    found: list[list[float]] = []
    for world in seeds.tolist():
        packed = packed_world(center, world)
        found.append([play(packed.copy()) for play in plays])
        if time.perf_counter() - began > SLOWER * limit_s:
            break
    return int(np.mean(found, axis=0).argmin()) if len(found) >= LEAST else 0
