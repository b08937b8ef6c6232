"""Local search over plans of a step by simulated annealing, with costs kept up to date.

Changes: a sequence moves to another group; two sequences swap; some groups of a micro-batch are
dissolved and others, of any kinds, are formed of their devices; a group changes places with groups
of another micro-batch. A group that loses its last sequence is gone, and so is a micro-batch
without groups.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .grouping import Work

TRIES = 6  # draws of a sequence of a slowest group, or of one that two groups may swap
MOST_DISSOLVED = 4  # groups at once
SWAPS, REFORMS, EXCHANGES = 0.4, 0.02, 0.02  # shares of the changes; the rest are moves


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
    count, kinds = work.times.shape
    groups, batches = 0, 0
    for k in range(count):
        groups = max(groups, group[k] + 1)
    for p in range(groups):
        batches = max(batches, batch[p] + 1)
    time, fresh_time = np.zeros(count), np.zeros(count)
    room, fresh_room = np.zeros(count, np.int64), np.zeros(count, np.int64)
    held, fresh_held = np.zeros(count, np.int64), np.zeros(count, np.int64)
    fresh_kind, placed = np.zeros(count, np.int64), np.zeros(count, np.int64)
    target, devices = np.zeros(count, np.int64), np.zeros(len(work.devices), np.int64)
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
    slowest = np.zeros(batches)
    for p in range(groups):
        slowest[batch[p]] = max(slowest[batch[p]], time[p])
    share = weight / work.devices.sum()
    total = slowest.sum()
    found = 0
    for _ in range(changes):
        draw, emptied = rng.random(), False
        k = int(rng.random() * count)
        p = group[k]
        if draw < 1.0 - REFORMS - EXCHANGES:
            if rng.random() < 0.5:
                for _ in range(TRIES):
                    if time[p] == slowest[batch[p]]:
                        break
                    k = int(rng.random() * count)
                    p = group[k]
            j = -1
            if draw < SWAPS:
                j = int(rng.random() * count)
                q = group[j]
                if work.lengths[j] == work.lengths[k]:
                    continue
            else:
                q = int(rng.random() * groups)
            gain = work.lengths[j] if j >= 0 else 0
            if p == q or room[q] + gain < work.lengths[k]:
                continue
            a, b, g, h = batch[p], batch[q], kind[p], kind[q]
            at_p = time[p] - work.times[k, g]
            at_q = time[q] + work.times[k, h]
            effort = work.degree[h] * work.times[k, h] - work.degree[g] * work.times[k, g]
            if j >= 0:
                if room[p] + work.lengths[k] < work.lengths[j]:
                    continue
                at_p += work.times[j, g]
                at_q -= work.times[j, h]
                effort += work.degree[g] * work.times[j, g] - work.degree[h] * work.times[j, h]
            elif held[p] == 1:
                at_p = 0.0
                effort -= work.degree[g] * work.constant[g]
            threshold = heat * -np.log(1.0 - rng.random()) - share * effort
            if a == b:
                most = max(at_p, at_q)
                rise = most - slowest[a]
                if rise < 0.0:
                    if time[p] == slowest[a] or time[q] == slowest[a]:
                        most = _slowest(batch, time, groups, a, p, at_p, q, at_q)
                        rise = most - slowest[a]
                    else:
                        most, rise = slowest[a], 0.0
                if rise > threshold:
                    continue
                slowest[a] = most
            else:
                at_a, at_b = max(slowest[a], at_p), max(slowest[b], at_q)
                if at_p < time[p] and time[p] == slowest[a]:
                    at_a = _slowest(batch, time, groups, a, p, at_p, -1, 0.0)
                if at_q < time[q] and time[q] == slowest[b]:
                    at_b = _slowest(batch, time, groups, b, q, at_q, -1, 0.0)
                if at_a + at_b - slowest[a] - slowest[b] > threshold:
                    continue
                slowest[a], slowest[b] = at_a, at_b
            time[p], time[q] = at_p, at_q
            group[k] = q
            room[p] += work.lengths[k] - gain
            room[q] -= work.lengths[k] - gain
            if j >= 0:
                group[j] = p
            else:
                held[p] -= 1
                held[q] += 1
                if held[p] == 0:
                    free[a, work.device_class[g]] += work.degree[g]
                    emptied = True
        elif draw < 1.0 - EXCHANGES:
            # Groups of one micro-batch are dissolved; `target` marks them, then holds new groups.
            a = batch[p]
            many = 1 + int(rng.random() * MOST_DISSOLVED)
            target[:] = -1
            target[p] = 0
            devices[:] = free[a]
            devices[work.device_class[kind[p]]] += work.degree[kind[p]]
            marked, members = 1, held[p]
            effort = -work.degree[kind[p]] * time[p]
            for _ in range(4 * many):
                q = int(rng.random() * groups)
                if marked < many and batch[q] == a and target[q] < 0:
                    target[q] = 0
                    devices[work.device_class[kind[q]]] += work.degree[kind[q]]
                    effort -= work.degree[kind[q]] * time[q]
                    members += held[q]
                    marked += 1
            fresh = 0
            for _ in range(3 * MOST_DISSOLVED):
                g = int(rng.random() * kinds)
                c = work.device_class[g]
                if work.degree[g] <= devices[c] and fresh < members:
                    copies = 1 if rng.random() < 0.7 else devices[c] // work.degree[g]
                    for _ in range(min(copies, members - fresh)):
                        fresh_kind[fresh], fresh_held[fresh] = g, 0
                        fresh_time[fresh], fresh_room[fresh] = work.constant[g], work.capacity[g]
                        devices[c] -= work.degree[g]
                        fresh += 1
            at = 0
            for k in range(count):
                if target[group[k]] < 0:
                    continue
                at = -1
                finish = np.inf
                for i in range(fresh):
                    until = fresh_time[i] + work.times[k, fresh_kind[i]]
                    if fresh_room[i] >= work.lengths[k] and until < finish:
                        finish, at = until, i
                if at < 0:
                    break
                fresh_time[at] = finish
                fresh_room[at] -= work.lengths[k]
                fresh_held[at] += 1
                placed[k] = at
            if at < 0:
                continue
            most = 0.0
            for i in range(fresh):
                if fresh_held[i] > 0:
                    most = max(most, fresh_time[i])
                    effort += work.degree[fresh_kind[i]] * fresh_time[i]
            for q in range(groups):
                if batch[q] == a and target[q] < 0:
                    most = max(most, time[q])
            threshold = heat * -np.log(1.0 - rng.random())
            if most - slowest[a] + share * effort > threshold:
                continue
            # Kept: new groups take the places of old ones, then places after the last.
            emptied = True
            for q in range(groups):
                if target[q] >= 0:
                    free[a, work.device_class[kind[q]]] += work.degree[kind[q]]
                    held[q] = 0
            q = 0
            for i in range(fresh):
                if fresh_held[i] == 0:
                    continue
                while q < groups and held[q] > 0:
                    q += 1
                groups = max(groups, q + 1)
                kind[q], batch[q], held[q] = fresh_kind[i], a, fresh_held[i]
                time[q], room[q] = fresh_time[i], fresh_room[i]
                free[a, work.device_class[kind[q]]] -= work.degree[kind[q]]
                fresh_held[i] = q
            for k in range(count):
                if target[group[k]] >= 0:
                    group[k] = fresh_held[placed[k]]
            slowest[a] = most
        else:
            # Group p changes places with groups of another micro-batch that have as many devices.
            a, c = batch[p], work.device_class[kind[p]]
            b = int(rng.random() * batches)
            if a == b:
                continue
            need = work.degree[kind[p]] - free[b, c]
            spare = work.degree[kind[p]] + free[a, c]
            target[:] = -1
            target[p] = b
            took = 0
            for _ in range(24):
                q = int(rng.random() * groups)
                size = work.degree[kind[q]]
                same = batch[q] == b and work.device_class[kind[q]] == c
                if same and target[q] < 0 and took < need and took + size <= spare:
                    target[q] = a
                    took += size
            if took < need:
                continue
            at_a, at_b = 0.0, 0.0
            for q in range(groups):
                m = batch[q] if target[q] < 0 else target[q]
                if m == a:
                    at_a = max(at_a, time[q])
                elif m == b:
                    at_b = max(at_b, time[q])
            if at_a + at_b - slowest[a] - slowest[b] > heat * -np.log(1.0 - rng.random()):
                continue
            for q in range(groups):
                if target[q] >= 0:
                    batch[q] = target[q]
            free[a, c] += work.degree[kind[p]] - took
            free[b, c] += took - work.degree[kind[p]]
            slowest[a], slowest[b] = at_a, at_b
        for q in range(groups - 1 if emptied else -1, -1, -1):
            if held[q] > 0:
                continue
            groups -= 1  # the last group takes the place of the empty one
            if q != groups:
                kind[q], batch[q], held[q] = kind[groups], batch[groups], held[groups]
                time[q], room[q] = time[groups], room[groups]
                for k in range(count):
                    if group[k] == groups:
                        group[k] = q
        total = slowest.sum()
        if total < reached[0] - 1e-6:
            reached[0], found = total, groups
            best[0], best[1], best[2] = group, kind, batch
    return found
