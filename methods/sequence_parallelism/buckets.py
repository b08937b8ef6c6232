"""FlexSP's buckets, and its mixed-integer program of a micro-batch (sections 4.2 and 4.4).

After Wang et al., ASPLOS 2025, arXiv 2412.01523. The program has a row of variables for each group
that the devices could form of each kind. Of the published code's differences none is kept: devices
may be left idle, and groups of one device are allowed where the instance allows them.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .. import highs
from .grouping import Work
from .packing import MOST_ROOM, fill, groups_of_degree

BUCKETS = 16  # at first; more until little is padded
MOST_COLUMNS = 200_000  # of a program, which would not be read in time


def buckets(lengths: np.ndarray, room: int) -> np.ndarray:
    """Cut sequences into buckets so that few tokens are lost by taking each for its longest.

    Args:
        lengths: int64 [K]; longest first.
        room: tokens that all devices hold: buckets are added until padded tokens are at most the
            mean of the tokens and this.

    Returns:
        Borders, int64 [Q + 1], from 0 to K; each sequence is a bucket where that takes too many.
    """
    # Equal lengths share a bucket, so that the program runs over distinct lengths.
    size, first = np.unique(-lengths, return_index=True)
    size, ends = -size, np.append(first, len(lengths))
    sums = np.concatenate([[0], np.cumsum(lengths)])[ends]
    if len(size) <= BUCKETS:
        return ends
    start = np.arange(len(size))
    # lost[i, j]: tokens that a bucket of the distinct lengths from i up to before j is padded by.
    lost = size[:, None] * (ends[None, :] - ends[start, None]) - (sums[None] - sums[start, None])
    lost = np.where(np.arange(len(ends))[None] > start[:, None], lost, np.iinfo(np.int64).max // 4)
    most = max(0, (room - int(sums[-1])) // 2)
    error, cuts = np.append(lost[0, :1], lost[0, 1:]), []
    for count in range(2, len(size)):
        through = error[start, None] + lost
        cuts.append(through.argmin(axis=0))
        error = through[cuts[-1], np.arange(len(ends))]
        if count >= BUCKETS and error[-1] <= most:
            borders = [len(size)]
            for cut in reversed(cuts):
                borders.append(int(cut[borders[-1]]))
            return np.asarray(ends[np.unique([0, *borders])])
    return np.asarray(ends)


def one_kind_start(work: Work, first: int, last: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the best plan of a micro-batch with groups of one degree: FlexSP's warm start.

    Args:
        work: the step.
        first: number of the first sequence; the longest come first, each into the group with least
            tokens.
        last: number of the one after the last.

    Returns:
        Groups of the sequences, int64 [last - first], and the groups' kinds; None if no degree has
        room.
    """
    best, found = np.inf, None
    group = np.zeros(len(work.lengths), np.int64)
    for degree in np.unique(work.degree):
        kind = groups_of_degree(work, int(degree))
        if not len(kind) or not fill(work, first, last, kind, 1.0, MOST_ROOM, group, 0):
            continue
        own = group[first:last].copy()
        took = np.bincount(own, work.times[np.arange(first, last), kind[own]], len(kind))
        slowest = float((took + work.constant[kind])[np.unique(own)].max())
        if slowest < best:
            best, found = slowest, (own, kind)
    return found


def solve_buckets(
    work: Work, first: int, last: int, borders: np.ndarray, seconds: highs.Seconds,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray] | None:  # fmt: skip
    """Plan a micro-batch by the mixed-integer program, and deal each bucket's sequences out.

    Args:
        work: the step.
        first: number of the first sequence.
        last: number of the one after the last.
        borders: int64 [Q + 1]; of the buckets, from 0 to last - first.
        seconds: returns the seconds left.
        rng: deals the sequences out, and seeds HiGHS.

    Returns:
        As `one_kind_start`, which is also the warm start; None if nothing was found.
    """
    number, sizes = np.diff(borders), len(borders) - 1
    longest = first + borders[:-1]
    kind = np.concatenate([groups_of_degree(work, int(d)) for d in np.unique(work.degree)])
    kind = kind[np.isfinite(work.times[longest][:, kind]).any(axis=0)]
    groups = len(kind)
    start = one_kind_start(work, first, last)
    if groups * (sizes + 1) > MOST_COLUMNS:
        return start
    times = work.times[longest][:, kind].T  # [P, Q]
    fits = np.isfinite(times)
    times = np.where(fits, times, 0.0)
    held = work.lengths[longest].astype(np.float64)
    # Columns: the micro-batch's time, whether each group is formed, and sequences [P, Q].
    rows, columns = np.divmod(np.arange(groups * sizes), sizes)
    at = 1 + groups + np.arange(groups * sizes)
    formed = 1 + np.arange(groups)
    every = np.arange(groups)
    matrix = sp.csc_matrix(
        (
            np.concatenate(
                [
                    times.ravel(), work.constant[kind], -np.ones(groups),
                    held[columns], -work.capacity[kind].astype(np.float64),
                    work.degree[kind].astype(np.float64),
                    np.ones(groups * sizes),
                ]
            ),
            (
                np.concatenate(
                    [
                        rows, every, every, groups + rows, groups + every,
                        2 * groups + work.device_class[kind],
                        2 * groups + len(work.devices) + columns,
                    ]
                ),
                np.concatenate(
                    [at, formed, np.zeros(groups, np.int64), at, formed, formed, at]
                ),
            ),
        ),
        shape=(2 * groups + len(work.devices) + sizes, 1 + groups + groups * sizes),
    )  # fmt: skip
    upper = np.concatenate([[np.inf], np.ones(groups), (fits * number).ravel()])
    cost, integer = np.zeros(len(upper)), np.ones(len(upper), bool)
    cost[0], integer[0] = 1.0, False
    program = highs.MixedIntegerProgram(
        cost, np.zeros(len(upper)), upper, matrix,
        np.concatenate([np.full(2 * groups + len(work.devices), -np.inf), number]),
        np.concatenate([np.zeros(2 * groups), work.devices, number]).astype(np.float64), integer,
    )  # fmt: skip
    warm = None if start is None else _point(program, start, kind, number, borders, times, work)
    outcome = highs.solve(
        program, seconds, seed=int(rng.integers(2**31)), gap=1e-3, start=warm, reserve=0.001
    )
    if outcome.x is None:
        return start
    counts = np.rint(outcome.x[at]).astype(np.int64).reshape(groups, sizes)
    group = np.concatenate([rng.permutation(np.repeat(every, counts[:, q])) for q in range(sizes)])
    return group, kind


def _point(
    program: highs.MixedIntegerProgram, start: tuple[np.ndarray, np.ndarray], kind: np.ndarray,
    number: np.ndarray, borders: np.ndarray, times: np.ndarray, work: Work,
) -> np.ndarray | None:  # fmt: skip
    """Return a plan as a point of the program, or None if buckets' lengths do not fit its groups.

    Args:
        program: the program.
        start: groups of the sequences, and the groups' kinds.
        kind: int64 [P]; kinds of the program's groups.
        number: int64 [Q]; sequences of the buckets.
        borders: int64 [Q + 1]; of the buckets.
        times: float64 [P, Q]; ms of each bucket's longest sequence.
        work: the step.
    """
    own, kinds = start
    sizes, groups = len(number), len(kind)
    places = np.concatenate([np.flatnonzero(kind == k) for k in np.unique(kinds)])
    names = np.concatenate([np.flatnonzero(kinds == k) for k in np.unique(kinds)])
    if len(places) != len(names):
        return None
    place = np.zeros(len(kinds), np.int64)
    place[names] = places
    counts = np.zeros((groups, sizes))
    np.add.at(counts, (place[own], np.repeat(np.arange(sizes), number)), 1.0)
    formed = counts.sum(axis=1) > 0
    took = (times * counts).sum(axis=1) + work.constant[kind] * formed
    point = np.concatenate([[took.max()], formed, counts.ravel()])
    along = program.matrix @ point
    within = (along <= program.row_upper + 1e-6).all() and (point <= program.upper + 1e-6).all()
    return point if within else None
