"""Local search over plans of a step by simulated annealing, with costs kept up to date.

Changes: a sequence moves to another group; two sequences swap; some groups of a micro-batch are
dissolved and others, of any kinds, are formed of their devices; a group changes places with groups
of another micro-batch. A group that loses its last sequence is gone, and so is a micro-batch
without groups.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .grouping import Work

TRIES = 6  # draws of a sequence of a slowest group, or of one that two groups may swap
MOST_DISSOLVED = 4  # groups at once
SWAPS, REFORMS, EXCHANGES = 0.4, 0.02, 0.02  # shares of the changes; the rest are moves
SAME = 1e-6  # ms


class Draft(NamedTuple):
    """A plan that is changed, of K sequences, M micro-batches and P groups, the first of K places.

    Attributes:
        group: int64 [K]; each sequence's group.
        kind, batch: int64 [K]; the groups' kinds and micro-batches.
        time: float64 [K]; ms that the groups take.
        room, held: int64 [K]; tokens that still fit the groups, and their sequences.
        free: int64 [M, C]; devices of each class that the micro-batches have left.
        slowest: float64 [M]; ms that the micro-batches take.
        groups: int64 [1]; P.
    """

    group: np.ndarray
    kind: np.ndarray
    batch: np.ndarray
    time: np.ndarray
    room: np.ndarray
    held: np.ndarray
    free: np.ndarray
    slowest: np.ndarray
    groups: np.ndarray


class Scratch(NamedTuple):
    """What a change is worked out in.

    Attributes:
        mark: int64 [K]; of groups: below 0 for those that stay as they are.
        kind, room, held: int64 [K]; of new groups.
        time: float64 [K]; of new groups, ms.
        placed: int64 [K]; the new group of each sequence of a dissolved one.
        devices: int64 [C]; for new groups.
    """

    mark: np.ndarray
    kind: np.ndarray
    room: np.ndarray
    held: np.ndarray
    time: np.ndarray
    placed: np.ndarray
    devices: np.ndarray


@njit(cache=True, nogil=True)
def anneal(
    work: Work,
    group: np.ndarray,
    kind: np.ndarray,
    batch: np.ndarray,
    best: np.ndarray,
    reached: np.ndarray,
    heat: float,
    weight: float,
    changes: int,
    rng: np.random.Generator,
) -> int:
    """Try changes of a plan.

    Args:
        work: the step.
        group: int64 [K]; each sequence's group, changed in place.
        kind: int64 [K]; the groups' kinds, changed in place; what follows them is scratch.
        batch: int64 [K]; the groups' micro-batches, likewise.
        best: int64 [3, K]; groups, kinds and micro-batches of the best plan, overwritten by better.
        reached: float64 [1]; ms of the best plan, overwritten.
        heat: ms; a change is kept if it costs at most this times an exponential draw.
        weight: of the devices' mean time, beside the step's time, in what a change costs.
        changes: number of changes to try.
        rng: draws the changes.

    Returns:
        The number of groups of the best plan, 0 if none is better than `reached`.
    """
    count, found = len(group), 0
    draft = _draft(work, group, kind, batch)
    whole, real = np.zeros((5, count), np.int64), np.zeros(count)
    new = Scratch(
        whole[0],
        whole[1],
        whole[2],
        whole[3],
        real,
        whole[4],
        np.zeros(len(work.devices), np.int64),
    )
    share = weight / work.devices.sum()
    # Moves and swaps are nearly all there is: arrays of their own, for each look into a tuple costs
    # as much as the rest of a change.
    lengths, times, degree, constant = work.lengths, work.times, work.degree, work.constant
    groups = draft.groups
    time, room, held, slowest = draft.time, draft.room, draft.held, draft.slowest
    for _ in range(changes):
        draw, k = rng.random(), int(rng.random() * count)
        p = group[k]
        if draw >= 1.0 - EXCHANGES:
            if not _exchange(work, draft, new.mark, p, heat, rng):
                continue
        elif draw >= 1.0 - REFORMS - EXCHANGES:
            if not _reform(work, draft, new, p, heat, share, rng):
                continue
        else:
            if rng.random() < 0.5:
                for _ in range(TRIES):
                    if time[p] == slowest[batch[p]]:
                        break
                    k = int(rng.random() * count)
                    p = group[k]
            j, gain = -1, 0
            if draw < SWAPS:
                j = int(rng.random() * count)
                q, gain = group[j], lengths[j]
                if lengths[j] == lengths[k]:
                    continue
            else:
                q = int(rng.random() * groups[0])
            if p == q or room[q] + gain < lengths[k]:
                continue
            a, b, g, h = batch[p], batch[q], kind[p], kind[q]
            at_p, at_q = time[p] - times[k, g], time[q] + times[k, h]
            effort = degree[h] * times[k, h] - degree[g] * times[k, g]
            if j >= 0:
                if room[p] + lengths[k] < gain:
                    continue
                at_p += times[j, g]
                at_q -= times[j, h]
                effort += degree[g] * times[j, g] - degree[h] * times[j, h]
            elif held[p] == 1:
                at_p = 0.0
                effort -= degree[g] * constant[g]
            threshold = heat * -np.log(1.0 - rng.random()) - share * effort
            # Groups are looked through only where a slowest one gets faster.
            if a == b:
                at_a = max(at_p, at_q)
                if at_a < slowest[a]:
                    at_a = slowest[a]
                    if time[p] == slowest[a] or time[q] == slowest[a]:
                        at_a = _slowest(batch, time, groups[0], a, p, at_p, q, at_q)
                if at_a - slowest[a] > threshold:
                    continue
                slowest[a] = at_a
            else:
                at_a, at_b = max(slowest[a], at_p), max(slowest[b], at_q)
                if at_p < time[p] and time[p] == slowest[a]:
                    at_a = _slowest(batch, time, groups[0], a, p, at_p, -1, 0.0)
                if at_q < time[q] and time[q] == slowest[b]:
                    at_b = _slowest(batch, time, groups[0], b, q, at_q, -1, 0.0)
                if at_a + at_b - slowest[a] - slowest[b] > threshold:
                    continue
                slowest[a], slowest[b] = at_a, at_b
            time[p], time[q], group[k] = at_p, at_q, q
            room[p] += lengths[k] - gain
            room[q] -= lengths[k] - gain
            if j >= 0:
                group[j] = p
            else:
                held[p] -= 1
                held[q] += 1
                if held[p] == 0:
                    draft.free[a, work.device_class[g]] += degree[g]
                    _drop_empty(draft)
        total = slowest.sum()
        if total < reached[0] - SAME:
            reached[0], found = total, groups[0]
            best[0], best[1], best[2] = group, kind, batch
    return found


@njit(cache=True, nogil=True)
def _draft(work: Work, group: np.ndarray, kind: np.ndarray, batch: np.ndarray) -> Draft:
    """Add up what a plan's groups and micro-batches take and hold."""
    count, groups = len(group), group.max() + 1
    batches = batch[:groups].max() + 1
    time, slowest = np.zeros(count), np.zeros(batches)
    room, held = np.zeros(count, np.int64), np.zeros(count, np.int64)
    free = np.zeros((batches, len(work.devices)), np.int64)
    for m in range(batches):
        free[m] = work.devices
    for p in range(groups):
        time[p], room[p] = work.constant[kind[p]], work.capacity[kind[p]]
        free[batch[p], work.device_class[kind[p]]] -= work.degree[kind[p]]
    for k in range(count):
        time[group[k]] += work.times[k, kind[group[k]]]
        room[group[k]] -= work.lengths[k]
        held[group[k]] += 1
    for p in range(groups):
        slowest[batch[p]] = max(slowest[batch[p]], time[p])
    return Draft(group, kind, batch, time, room, held, free, slowest, np.array([groups]))


@njit(cache=True, nogil=True)
def _slowest(
    batch: np.ndarray, time: np.ndarray, groups: int, m: int, p: int, at_p: float, q: int,
    at_q: float,
) -> float:  # fmt: skip
    """Return the ms of micro-batch `m` if groups `p` and `q` took `at_p` and `at_q`."""
    most = 0.0
    for i in range(groups):
        if batch[i] == m:
            taken = at_p if i == p else (at_q if i == q else time[i])
            most = max(most, taken)
    return most


@njit(cache=True, nogil=True)
def _reform(
    work: Work, draft: Draft, new: Scratch, p: int, heat: float, share: float,
    rng: np.random.Generator,
) -> bool:  # fmt: skip
    """Dissolve groups of a micro-batch and form others, and say whether that is kept.

    Args:
        work: the step.
        draft: changed in place.
        new: scratch.
        p: a group that is dissolved; others are drawn.
        heat: see `anneal`.
        share: what a device-millisecond costs.
        rng: draws the rest.
    """
    a, groups = draft.batch[p], draft.groups[0]
    members, effort = _dissolve(work, draft, new, p, rng)
    fresh = 0
    for _ in range(3 * MOST_DISSOLVED):
        g = int(rng.random() * len(work.degree))
        c = work.device_class[g]
        if work.degree[g] <= new.devices[c] and fresh < members:
            copies = 1 if rng.random() < 0.7 else new.devices[c] // work.degree[g]
            for _ in range(min(copies, members - fresh)):
                new.kind[fresh], new.held[fresh] = g, 0
                new.time[fresh], new.room[fresh] = work.constant[g], work.capacity[g]
                new.devices[c] -= work.degree[g]
                fresh += 1
    if not _fill(work, draft, new, fresh):
        return False
    most = 0.0
    for i in range(fresh):
        if new.held[i] > 0:
            most = max(most, new.time[i])
            effort += work.degree[new.kind[i]] * new.time[i]
    for q in range(groups):
        if draft.batch[q] == a and new.mark[q] < 0:
            most = max(most, draft.time[q])
    threshold = heat * -np.log(1.0 - rng.random())
    if most - draft.slowest[a] + share * effort > threshold:
        return False
    draft.slowest[a] = most
    _put(work, draft, new, a, fresh)
    _drop_empty(draft)
    return True


@njit(cache=True, nogil=True)
def _dissolve(
    work: Work, draft: Draft, new: Scratch, p: int, rng: np.random.Generator
) -> tuple[int, float]:
    """Mark group `p` and others of its micro-batch, and collect their devices for new ones.

    Returns:
        The number of their sequences, and what their device-milliseconds saved are, negative.
    """
    a = draft.batch[p]
    many = 1 + int(rng.random() * MOST_DISSOLVED)
    new.mark[:] = -1
    new.devices[:] = draft.free[a]
    marked, members, effort, q = 0, 0, 0.0, p
    for draw in range(1 + 4 * many):
        if draw:
            q = int(rng.random() * draft.groups[0])
        if marked < many and draft.batch[q] == a and new.mark[q] < 0:
            new.mark[q] = 0
            new.devices[work.device_class[draft.kind[q]]] += work.degree[draft.kind[q]]
            effort -= work.degree[draft.kind[q]] * draft.time[q]
            members += draft.held[q]
            marked += 1
    return members, effort


@njit(cache=True, nogil=True)
def _fill(work: Work, draft: Draft, new: Scratch, fresh: int) -> bool:
    """Put the sequences of marked groups where they end first; say whether all found room."""
    for k in range(len(draft.group)):
        if new.mark[draft.group[k]] < 0:
            continue
        at, finish = -1, np.inf
        for i in range(fresh):
            until = new.time[i] + work.times[k, new.kind[i]]
            if new.room[i] >= work.lengths[k] and until < finish:
                finish, at = until, i
        if at < 0:
            return False
        new.time[at] = finish
        new.room[at] -= work.lengths[k]
        new.held[at] += 1
        new.placed[k] = at
    return True


@njit(cache=True, nogil=True)
def _put(work: Work, draft: Draft, new: Scratch, a: int, fresh: int) -> None:
    """Give new groups of micro-batch `a` the places of the marked ones, then those after the last.

    The numbers of their places overwrite `new.held`.
    """
    for q in range(draft.groups[0]):
        if new.mark[q] >= 0:
            draft.free[a, work.device_class[draft.kind[q]]] += work.degree[draft.kind[q]]
            draft.held[q] = 0
    q = 0
    for i in range(fresh):
        if new.held[i] == 0:
            continue
        while q < draft.groups[0] and draft.held[q] > 0:
            q += 1
        draft.groups[0] = max(draft.groups[0], q + 1)
        draft.kind[q], draft.batch[q], draft.held[q] = new.kind[i], a, new.held[i]
        draft.time[q], draft.room[q] = new.time[i], new.room[i]
        draft.free[a, work.device_class[draft.kind[q]]] -= work.degree[draft.kind[q]]
        new.held[i] = q
    for k in range(len(draft.group)):
        if new.mark[draft.group[k]] >= 0:
            draft.group[k] = new.held[new.placed[k]]


@njit(cache=True, nogil=True)
def _exchange(
    work: Work, draft: Draft, to: np.ndarray, p: int, heat: float, rng: np.random.Generator
) -> bool:
    """Let a group change places with groups of another micro-batch that have as many devices.

    Args:
        work: the step.
        draft: changed in place.
        to: int64 [K]; scratch.
        p: the group.
        heat: see `anneal`.
        rng: draws the rest.

    Returns:
        Whether it is kept.
    """
    kind, batch, slowest = draft.kind, draft.batch, draft.slowest
    a, c = batch[p], work.device_class[kind[p]]
    b = int(rng.random() * len(slowest))
    if a == b:
        return False
    need = work.degree[kind[p]] - draft.free[b, c]
    spare = work.degree[kind[p]] + draft.free[a, c]
    to[:] = -1
    to[p] = b
    took = 0
    for _ in range(24):
        q = int(rng.random() * draft.groups[0])
        size = work.degree[kind[q]]
        same = batch[q] == b and work.device_class[kind[q]] == c
        if same and to[q] < 0 and took < need and took + size <= spare:
            to[q] = a
            took += size
    if took < need:
        return False
    at_a, at_b = 0.0, 0.0
    for q in range(draft.groups[0]):
        m = batch[q] if to[q] < 0 else to[q]
        if m == a:
            at_a = max(at_a, draft.time[q])
        elif m == b:
            at_b = max(at_b, draft.time[q])
    if at_a + at_b - slowest[a] - slowest[b] > heat * -np.log(1.0 - rng.random()):
        return False
    for q in range(draft.groups[0]):
        if to[q] >= 0:
            batch[q] = to[q]
    draft.free[a, c] += work.degree[kind[p]] - took
    draft.free[b, c] += took - work.degree[kind[p]]
    slowest[a], slowest[b] = at_a, at_b
    return True


@njit(cache=True, nogil=True)
def _drop_empty(draft: Draft) -> None:
    """Let the last group take the place of each one without sequences."""
    for q in range(draft.groups[0] - 1, -1, -1):
        if draft.held[q] > 0:
            continue
        draft.groups[0] -= 1
        last = draft.groups[0]
        if q != last:
            draft.kind[q], draft.batch[q], draft.held[q] = (
                draft.kind[last], draft.batch[last], draft.held[last]
            )  # fmt: skip
            draft.time[q], draft.room[q] = draft.time[last], draft.room[last]
            for k in range(len(draft.group)):
                if draft.group[k] == last:
                    draft.group[k] = q
