"""Fill given groups, or open them one by one, by plain rules; and plans of one degree."""

from __future__ import annotations

import numpy as np
from numba import njit

from .grouping import Grouping, Work, compact, group_times

FIRST, LEAST_ROOM, MOST_ROOM, LEAST_TIME = range(4)  # which group takes a sequence
FILLS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)  # of the groups' room, tried by tuned packing
MORE = 3  # micro-batches beyond the least number, tried by level packing


@njit(cache=True, nogil=True)
def fill(
    work: Work, first: int, last: int, kind: np.ndarray, share: float, rule: int,
    group: np.ndarray, used: int,
) -> bool:  # fmt: skip
    """Put sequences, longest first, into given groups.

    Args:
        work: the step.
        first: number of the first sequence.
        last: number of the one after the last.
        kind: int64 [P]; kinds of the groups.
        share: of the groups' room that may be filled; one sequence always may.
        rule: which of the groups with room takes a sequence; of equal ones the first does.
        group: int64 [K]; overwritten by the sequences' groups, numbered from `used` on.
        used: number of the first group.

    Returns:
        Whether all sequences found room.
    """
    many = len(kind)
    room, time = np.zeros(many), np.zeros(many)
    for p in range(many):
        room[p], time[p] = share * work.capacity[kind[p]], work.constant[kind[p]]
    empty = np.ones(many, np.bool_)
    for k in range(first, last):
        at, best = -1, np.inf
        for p in range(many):
            alone = empty[p] and work.lengths[k] <= work.capacity[kind[p]]
            if room[p] < work.lengths[k] and not alone:
                continue
            score = 0.0
            if rule == LEAST_ROOM:
                score = room[p]
            elif rule == MOST_ROOM:
                score = -room[p]
            elif rule == LEAST_TIME:
                score = time[p] + work.times[k, kind[p]]
            if score < best:
                at, best = p, score
        if at < 0:
            return False
        group[k] = used + at
        room[at] -= work.lengths[k]
        time[at] += work.times[k, kind[at]]
        empty[at] = False
    return True


@njit(cache=True, nogil=True)
def place(work: Work, rule: int, group: np.ndarray, kind: np.ndarray, batch: np.ndarray) -> int:
    """Put sequences, longest first, into groups that are opened when none has room.

    A new group is of the kind that takes least device time, in the first micro-batch with devices
    for it.

    Args:
        work: the step.
        rule: FIRST or LEAST_ROOM.
        group: int64 [K]; overwritten by each sequence's group.
        kind: int64 [K]; overwritten by the groups' kinds.
        batch: int64 [K]; overwritten by the groups' micro-batches.

    Returns:
        The number of groups.
    """
    count, kinds = work.times.shape
    room = np.zeros(count, np.int64)
    free = np.zeros((count, len(work.devices)), np.int64)
    free[0] = work.devices
    opened, batches = 0, 1  # the last micro-batch has no group yet
    for k in range(count):
        tokens, at = work.lengths[k], -1
        for p in range(opened):
            if room[p] >= tokens and (at < 0 or (rule == LEAST_ROOM and room[p] < room[at])):
                at = p
        if at < 0:
            least, new = np.inf, -1
            for m in range(batches):
                for g in range(kinds):
                    effort = work.times[k, g] * work.degree[g]
                    if effort < least and free[m, work.device_class[g]] >= work.degree[g]:
                        least, at, new = effort, m, g
            free[at, work.device_class[new]] -= work.degree[new]
            kind[opened], batch[opened], room[opened] = new, at, work.capacity[new]
            if at == batches - 1 and batches < count:
                free[batches] = work.devices
                batches += 1
            at = opened
            opened += 1
        group[k] = at
        room[at] -= tokens
    return opened


def placed(work: Work, rule: int) -> Grouping:
    """Return the plan of a rule; see `place`.

    Args:
        work: the step, of K sequences.
        rule: FIRST or LEAST_ROOM.
    """
    group, kind, batch = np.zeros((3, len(work.lengths)), np.int64)
    opened = place(work, rule, group, kind, batch)
    return Grouping(group, kind[:opened], batch[:opened])


def groups_of_degree(work: Work, degree: int) -> np.ndarray:
    """Return the kinds of a micro-batch's groups of one degree, on all classes, int64 [P].

    Args:
        work: the step.
        degree: devices of each group.
    """
    kinds = np.flatnonzero(work.degree == degree)
    return np.repeat(kinds, work.devices[work.device_class[kinds]] // degree)


def packed(work: Work, degree: int, share: float) -> Grouping | None:
    """Return a plan of groups of one degree by best fit, the slowest groups in one micro-batch.

    Args:
        work: the step.
        degree: devices of each group.
        share: of the groups' room that may be filled.

    Returns:
        The plan, or None if a sequence does not fit such groups.
    """
    one, count = groups_of_degree(work, degree), len(work.lengths)
    if not len(one) or work.lengths[0] > work.capacity[one].max():
        return None
    group = np.zeros(count, np.int64)
    batches = max(1, int(work.lengths.sum() // (share * work.capacity[one].sum())))
    while not fill(work, 0, count, np.tile(one, batches), share, LEAST_ROOM, group, 0):
        batches += 1 + batches // 8
    plan = compact(group, np.tile(one, batches), np.zeros(batches * len(one), np.int64))
    times = group_times(work, plan)
    for kind in np.unique(one):
        rows = np.flatnonzero(plan.kind == kind)
        slowest = rows[np.argsort(-times[rows], kind="stable")]
        plan.micro_batch[slowest] = np.arange(len(rows)) // int((one == kind).sum())
    return plan


def chunks(lengths: np.ndarray, many: int) -> np.ndarray:
    """Cut sequences in their order into parts whose largest sum of tokens is as small as it can be.

    The dynamic program of FlexSP, section 4.3.

    Args:
        lengths: int64 [K].
        many: number of parts.

    Returns:
        Borders, int64 [parts + 1], from 0 to K; empty parts are left out.
    """
    sums = np.concatenate([[0], np.cumsum(lengths)])
    cuts = _cuts(sums, many)
    borders = [len(lengths)]
    for cut in cuts[::-1]:
        borders.append(int(cut[borders[-1]]))
    return np.unique([*borders, 0]).astype(np.int64)


@njit(cache=True, nogil=True)
def _cuts(sums: np.ndarray, many: int) -> np.ndarray:
    """Return where the last part of each prefix begins, int64 [many - 1, K + 1], two parts first.

    Args:
        sums: int64 [K + 1]; tokens of each prefix.
        many: number of parts.
    """
    least, cuts = sums.copy(), np.zeros((many - 1, len(sums)), np.int64)
    for row in range(many - 1):
        here, j = least.copy(), 0
        for i in range(len(sums)):
            # least[j] rises with j and sums[i] - sums[j] falls: the best j is where they cross,
            # and it rises with i.
            while j < i and least[j] < sums[i] - sums[j]:
                j += 1
            cut = j
            if j > 0 and sums[i] - sums[j - 1] <= max(least[j], sums[i] - sums[j]):
                cut = j - 1
            cuts[row, i], here[i] = cut, max(least[cut], sums[i] - sums[cut])
        least = here
    return cuts


def level(work: Work, degree: int, many: int) -> Grouping | None:
    """Return a plan of groups of one degree: parts of like lengths, least finish time in each.

    Args:
        work: the step.
        degree: devices of each group.
        many: number of micro-batches.

    Returns:
        The plan, or None if sequences do not fit.
    """
    one, group = groups_of_degree(work, degree), np.zeros(len(work.lengths), np.int64)
    if not len(one) or work.lengths[0] > work.capacity[one].max():
        return None
    borders = chunks(work.lengths, many)
    parts = len(borders) - 1
    for part in range(parts):
        first, last = int(borders[part]), int(borders[part + 1])
        if not fill(work, first, last, one, 1.0, LEAST_TIME, group, part * len(one)):
            return None
    return compact(group, np.tile(one, parts), np.repeat(np.arange(parts), len(one)))
