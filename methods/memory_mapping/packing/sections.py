"""The buffers of a packing problem, and which of them are alive together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

HUGE = 1 << 61
MOST_PAIRS = 1 << 22  # of buffers alive together, above which they are not listed


class Lives(NamedTuple):
    """n buffers with P pieces of life."""

    size: np.ndarray  # int64 [n]
    alignment: np.ndarray  # int64 [n]
    offset: np.ndarray  # int64 [n]; where the buffer has to lie, or -1
    start: np.ndarray  # int64 [n+1]; u has the pieces start[u]:start[u+1]
    lower: np.ndarray  # int64 [P]; alive at lower <= t < upper
    upper: np.ndarray  # int64 [P]


class Rules(NamedTuple):
    """Where n buffers may lie, if alignments or given offsets leave anything out."""

    alignment: np.ndarray  # int64 [n]
    start: np.ndarray  # int64 [n+1]; of u, low[k]:top[k] is taken for start[u] <= k < start[u+1]
    low: np.ndarray  # int64; the lowest first
    top: np.ndarray  # int64


class Together(NamedTuple):
    """Which of n buffers are alive together; S sections, the maximal sets of buffers alive."""

    size: np.ndarray  # int64 [n]
    load: np.ndarray  # int64 [S]; sizes of the section's buffers together
    start: np.ndarray  # int64 [S+1]; section s has the buffers members[start[s]:start[s+1]]
    members: np.ndarray  # int64
    where_start: np.ndarray  # int64 [n+1]
    where: np.ndarray  # int64; where[where_start[u]:where_start[u+1]] are u's sections
    near_start: np.ndarray  # int64 [n+1]; where u's buffers begin in `near`; the last is the end
    near: np.ndarray  # int64; near[near_start[u]:near_start[u+1]] are alive together with u
    rules: Rules | None  # None if buffers may lie anywhere; a type of its own for the compiler


@dataclass(frozen=True, slots=True)
class Sections:
    """A packing problem, ready to be solved.

    Attributes:
        lives: the buffers.
        together: which are alive together; None if these are too many.
    """

    lives: Lives
    together: Together | None


def make_sections(
    lower: np.ndarray,
    upper: np.ndarray,
    size: np.ndarray,
    buffer: np.ndarray | None = None,
    alignment: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    most_pairs: int = MOST_PAIRS,
) -> Sections:
    """Divide buffers into sections, the maximal sets of buffers alive at once.

    Args:
        lower: int64 [P]; pieces of life, in which buffers are alive at lower <= t < upper.
        upper: int64 [P].
        size: int64 [n], positive.
        buffer: int64 [P]; the buffer of each piece; None for one piece each.
        alignment: int64 [n]; None for 1 each.
        offset: int64 [n]; where buffers have to lie, or -1; None for -1 each.
        most_pairs: pairs of buffers alive together, above which they are not listed; at most
            MOST_PAIRS.
    """
    n = len(size)
    buffer = np.arange(n) if buffer is None else buffer
    order = np.lexsort((lower, buffer))
    lower, upper, buffer = lower[order], upper[order], buffer[order]
    alignment = np.ones(n, np.int64) if alignment is None else alignment
    offset = np.full(n, -1) if offset is None else offset
    start = np.searchsorted(buffer, np.arange(n + 1))
    lives = Lives(size, alignment, offset, start, lower, upper)
    # Pieces that begin before each ends, less those that end before it begins, and itself.
    begun = np.searchsorted(np.sort(lower), upper)
    over = np.searchsorted(np.sort(upper), lower, "right")
    pairs = int((begun - over - 1).sum()) // 2
    listed = pairs <= min(most_pairs, MOST_PAIRS)
    return Sections(lives, _together(lives, buffer) if listed else None)


def _together(lives: Lives, buffer: np.ndarray) -> Together:
    """List the sections and the pairs of buffers alive together.

    Args:
        lives: the n buffers.
        buffer: int64 [P]; the buffer of each piece.
    """
    n, lower, upper = len(lives.size), lives.lower, lives.upper
    times = np.unique(np.concatenate([lower, upper]))
    # A maximal set lies between a time at which buffers begin and the next at which any end.
    slots = np.flatnonzero(np.isin(times, lower)[:-1] & np.isin(times, upper)[1:])
    first = np.searchsorted(times[slots], lower)
    counts = np.searchsorted(times[slots], upper) - first
    owner = np.repeat(buffer, counts)
    # The k-th section of a piece is first + k.
    where = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    by_section = np.argsort(where, kind="stable")
    start = np.searchsorted(where[by_section], np.arange(len(slots) + 1))
    members = owner[by_section]
    by_lower = np.argsort(lower, kind="stable")
    near_start, near = _near(by_lower, lower, upper, buffer, n)
    return Together(
        size=lives.size,
        load=np.add.reduceat(lives.size[members], start[:-1]),
        start=start,
        members=members,
        where_start=np.searchsorted(owner, np.arange(n + 1)),
        where=where,
        near_start=near_start,
        near=near,
        rules=_rules(lives, np.repeat(np.arange(n), np.diff(near_start)), near),
    )


def _rules(lives: Lives, one: np.ndarray, other: np.ndarray) -> Rules | None:
    """Return where buffers may lie, given the pairs that are alive together, int64 [2 * pairs]."""
    if (lives.alignment == 1).all() and (lives.offset < 0).all():
        return None
    zones = np.flatnonzero(lives.offset[other] >= 0)
    zones = zones[np.lexsort((lives.offset[other[zones]], one[zones]))]
    low = lives.offset[other[zones]]
    start = np.searchsorted(one[zones], np.arange(len(lives.size) + 1))
    return Rules(lives.alignment, start, low, low + lives.size[other[zones]])


@njit(cache=True)
def _near(
    by_lower: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    buffer: np.ndarray,
    n: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the buffers alive together with each, as `near_start` and `near` of Together.

    Args:
        by_lower: int64 [P]; the pieces by `lower`.
        lower: int64 [P].
        upper: int64 [P].
        buffer: int64 [P]; the buffer of each piece.
        n: number of buffers.
    """
    count = np.zeros(n + 1, np.int64)
    for k in range(len(by_lower)):
        one = by_lower[k]
        for j in range(k + 1, len(by_lower)):
            if lower[by_lower[j]] >= upper[one]:
                break
            count[buffer[one] + 1] += 1
            count[buffer[by_lower[j]] + 1] += 1
    start = count.cumsum()
    at, near = start.copy(), np.empty(start[-1], np.int64)
    for k in range(len(by_lower)):
        one = by_lower[k]
        for j in range(k + 1, len(by_lower)):
            other = by_lower[j]
            if lower[other] >= upper[one]:
                break
            u, v = buffer[one], buffer[other]
            near[at[u]], near[at[v]] = v, u
            at[u] += 1
            at[v] += 1
    # Buffers with several pieces of life may have met more than once.
    begin = size = 0
    for u in range(n):
        met = near[begin : start[u + 1]]
        met.sort()
        begin = start[u + 1]
        for k in range(len(met)):
            if k == 0 or met[k] != met[k - 1]:
                near[size] = met[k]
                size += 1
        start[u + 1] = size
    return start, near[:size]
