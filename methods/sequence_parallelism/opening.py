"""Open groups as sequences come, longest first, within a time limit of each micro-batch.

Short sequences are cheapest in small groups, long ones fit only large ones, and how long a
micro-batch may take decides between them: given the limits, the rest follows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .grouping import Grouping, Work, compact


class Opened(NamedTuple):
    """Groups that were opened.

    Attributes:
        plan: the groups.
        slowest: float64 [M]; ms that each micro-batch takes.
    """

    plan: Grouping
    slowest: np.ndarray


def open_groups(work: Work, limits: np.ndarray, bias: np.ndarray) -> Opened:
    """Open groups within limits; see `_open_groups`.

    Args:
        work: the step.
        limits: float64 [M]; ms that each micro-batch may take.
        bias: float64 [G]; factors on the device time of each kind.
    """
    group, kind, batch = np.empty((3, len(work.lengths)), np.int64)
    time = np.empty(len(work.lengths))
    opened = _open_groups(work, limits, bias, group, kind, batch, time, 0)
    slowest = np.zeros(batch[:opened].max() + 1)
    np.maximum.at(slowest, batch[:opened], time[:opened])
    used = np.bincount(batch[:opened]) > 0  # micro-batches without a group are left out
    number = np.cumsum(used) - 1
    return Opened(Grouping(group, kind[:opened], number[batch[:opened]]), slowest[used])


def fill_template(work: Work, limits: np.ndarray, kind: np.ndarray, batch: np.ndarray) -> Grouping:
    """Return a plan that begins with given groups; those that stay empty are left out.

    Args:
        work: the step.
        limits: float64 [M]; ms that each micro-batch may take.
        kind: int64 [P]; the groups' kinds, P at most the number of sequences.
        batch: int64 [P]; the groups' micro-batches.
    """
    given, count = len(kind), len(work.lengths)
    group, kinds, batches = np.zeros((3, count), np.int64)
    kinds[:given], batches[:given] = kind, batch
    bias = np.ones(len(work.degree))
    opened = _open_groups(work, limits, bias, group, kinds, batches, np.empty(count), given)
    return compact(group, kinds[:opened], batches[:opened])


@njit(cache=True, nogil=True)
def _open_groups(
    work: Work, limits: np.ndarray, bias: np.ndarray, group: np.ndarray, kind: np.ndarray,
    batch: np.ndarray, time: np.ndarray, opened: int,
) -> int:  # fmt: skip
    """Put each sequence where it fits within the limits and takes least device time.

    Of groups of one kind the fullest is taken, before a new one is opened. Where nothing fits
    within its limit, the limit that has to be raised least is raised; where no group can hold it,
    a micro-batch is added.

    Args:
        work: the step.
        limits: float64 [M]; ms that each micro-batch may take.
        bias: float64 [G]; factors on the device time of each kind.
        group: int64 [K]; overwritten by each sequence's group.
        kind: int64 [K]; overwritten by the groups' kinds.
        batch: int64 [K]; overwritten by the groups' micro-batches.
        time: float64 [K]; overwritten by the groups' ms.
        opened: groups that are there at the start, the first of `kind` and `batch`.

    Returns:
        The number of groups.
    """
    count, kinds = work.times.shape
    room = np.zeros(count, np.int64)
    of_kind = np.zeros((kinds, count), np.int64)
    many = np.zeros(kinds, np.int64)
    most = len(limits) + count
    limit = np.full(most, limits.max())
    limit[: len(limits)] = limits
    free = np.zeros((most, len(work.devices)), np.int64)
    for m in range(most):
        free[m] = work.devices
    batches, at = len(limits), -1
    for p in range(opened):
        g = kind[p]
        free[batch[p], work.device_class[g]] -= work.degree[g]
        time[p], room[p] = work.constant[g], work.capacity[g]
        of_kind[g, many[g]] = p
        many[g] += 1
    cost = np.zeros(kinds)
    for k in range(count):
        tokens = work.lengths[k]
        again = k > 0 and tokens == work.lengths[k - 1] and room[at] >= tokens
        if not again or time[at] + work.times[k, kind[at]] > limit[batch[at]]:
            at, new = -1, -1
            for g in range(kinds):
                cost[g] = work.times[k, g] * work.degree[g] * bias[g]
            for _ in range(kinds):
                g = int(cost.argmin())
                if cost[g] == np.inf:
                    break
                cost[g] = np.inf
                took = work.times[k, g]
                for i in range(many[g]):
                    p = of_kind[g, i]
                    fits = room[p] >= tokens and time[p] + took <= limit[batch[p]]
                    if fits and (at < 0 or time[p] > time[at]):
                        at = p
                if at >= 0:
                    break
                for m in range(batches):
                    if free[m, work.device_class[g]] >= work.degree[g] and (
                        work.constant[g] + took <= limit[m]
                    ):
                        at, new = m, g
                        break
                if new >= 0:
                    break
            if at < 0:
                over = np.inf
                for p in range(opened):
                    excess = time[p] + work.times[k, kind[p]] - limit[batch[p]]
                    if room[p] >= tokens and excess < over:
                        over, at = excess, p
                for m in range(batches + 1):
                    if m == batches and at >= 0:
                        break
                    for g in range(kinds):
                        excess = work.constant[g] + work.times[k, g] - limit[m]
                        if free[m, work.device_class[g]] >= work.degree[g] and excess < over:
                            over, at, new = excess, m, g
            if new >= 0:
                free[at, work.device_class[new]] -= work.degree[new]
                kind[opened], batch[opened] = new, at
                time[opened], room[opened] = work.constant[new], work.capacity[new]
                of_kind[new, many[new]] = opened
                many[new] += 1
                batches = max(batches, at + 1)
                at = opened
                opened += 1
        group[k] = at
        time[at] += work.times[k, kind[at]]
        room[at] -= tokens
        limit[batch[at]] = max(limit[batch[at]], time[at])
    return opened


def least_batches(work: Work) -> int:
    """Return a number of micro-batches that no plan can do with less, by tokens."""
    each = np.zeros(len(work.devices))
    np.maximum.at(each, work.device_class, work.capacity / work.degree)
    return max(1, int(np.ceil(work.lengths.sum() / (each * work.devices).sum() - 1e-9)))
