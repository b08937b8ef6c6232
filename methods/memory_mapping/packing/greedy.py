"""Greedy packings, compiled: best fit, and stacking for the first offsets of any problem."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ....envs.borrowed import borrow
from .sections import HUGE, Lives, Sections


class Fit(NamedTuple):
    """A packing by best fit under way: n buffers, of which the first `placed` are placed."""

    placed: np.ndarray  # int64 [1]
    offsets: np.ndarray  # int64 [n]; -1 for buffers not placed yet
    by_offset: np.ndarray  # int64 [n]; the placed buffers, lowest first
    low: np.ndarray  # int64 [n]; their offsets
    top: np.ndarray  # int64 [n]; their offsets plus sizes
    begin: np.ndarray  # int64 [n]; when their lives begin
    end: np.ndarray  # int64 [n]; when they end


def best_fit(sections: Sections, order: np.ndarray) -> np.ndarray:
    """Place each buffer in turn into the smallest gap that holds it.

    Gaps lie between the buffers already placed that are alive with it; ties go to the lowest gap,
    and if no gap is large enough the buffer goes above all. Buffers that have to lie where they do
    go first.

    Args:
        sections: the problem, of n buffers.
        order: int64 [n]; the buffers in the order of placement.

    Returns:
        Offsets, int64 [n].
    """
    fit = begin_fit(sections.lives)
    fit_next(sections, order, fit, len(order))
    return fit.offsets


def begin_fit(lives: Lives) -> Fit:
    """Return a packing by best fit with only the buffers placed that have to lie where they do.

    Args:
        lives: the problem, of n buffers.
    """
    n = len(lives.size)
    fit = Fit(np.zeros(1, np.int64), np.full(n, -1), *(np.zeros(n, np.int64) for _ in range(5)))
    for u in np.flatnonzero(lives.offset >= 0):
        _put(lives, fit, u, lives.offset[u])
    return fit


def fit_next(sections: Sections, order: np.ndarray, fit: Fit, most: int) -> bool:
    """Place further buffers by best fit; return whether any are left.

    Args:
        sections: the problem, of n buffers.
        order: int64 [n]; the buffers in the order of placement.
        fit: the packing, changed in place.
        most: number of buffers to place at most.
    """
    lives, together = sections.lives, sections.together
    if together is None:
        return bool(_fit_by_scan(lives, order, fit, most))
    return bool(_fit_by_list(lives, together.near_start, together.near, order, fit, most))


@njit(cache=True)
def _fit_by_list(
    lives: Lives, near_start: np.ndarray, near: np.ndarray, order: np.ndarray, fit: Fit, most: int
) -> bool:
    """Place further buffers, given the list of those alive together with each."""
    lives, fit = borrow(lives), borrow(fit)
    lows, tops = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    for u in order:
        if fit.offsets[u] >= 0:
            continue
        if most == 0:
            return True
        most -= 1
        count = 0
        for k in range(near_start[u], near_start[u + 1]):
            v = near[k]
            if fit.offsets[v] >= 0:
                lows[count] = fit.offsets[v]
                tops[count] = fit.offsets[v] + lives.size[v]
                count += 1
        best, least, ground, step = -1, HUGE, 0, lives.alignment[u]
        for k in np.argsort(lows[:count]):
            gap = lows[k] - ground
            if lives.size[u] <= gap < least:
                best, least = ground, gap
            if tops[k] > ground:
                ground = -(-tops[k] // step) * step
        fit.offsets[u] = ground if best < 0 else best
        fit.placed[0] += 1
    return False


@njit(cache=True)
def _fit_by_scan(lives: Lives, order: np.ndarray, fit: Fit, most: int) -> bool:
    """Place further buffers, looking at all that are placed."""
    lives, fit = borrow(lives), borrow(fit)
    for u in order:
        if fit.offsets[u] >= 0:
            continue
        if most == 0:
            return True
        most -= 1
        size, step = lives.size[u], lives.alignment[u]
        begin, end = _hull(lives, u)
        best, least, ground = -1, HUGE, 0
        for k in range(fit.placed[0]):
            if fit.top[k] <= ground or fit.begin[k] >= end or fit.end[k] <= begin:
                continue
            if not _meet(lives, u, fit.by_offset[k]):
                continue
            gap = fit.low[k] - ground
            if size <= gap < least:
                best, least = ground, gap
            ground = -(-fit.top[k] // step) * step
        _put(lives, fit, u, ground if best < 0 else best)
    return False


@njit(cache=True)
def _put(lives: Lives, fit: Fit, u: int, offset: int) -> None:
    """Enter a buffer at an offset."""
    at = fit.placed[0]
    while at > 0 and fit.low[at - 1] > offset:
        at -= 1
    for k in range(fit.placed[0], at, -1):
        fit.by_offset[k] = fit.by_offset[k - 1]
    for column in (fit.low, fit.top, fit.begin, fit.end):
        for k in range(fit.placed[0], at, -1):
            column[k] = column[k - 1]
    fit.offsets[u] = fit.low[at] = offset
    fit.by_offset[at], fit.top[at] = u, offset + lives.size[u]
    fit.begin[at], fit.end[at] = _hull(lives, u)
    fit.placed[0] += 1


@njit(cache=True)
def _hull(lives: Lives, u: int) -> tuple[int, int]:
    """Return when a buffer's life begins and ends."""
    return lives.lower[lives.start[u]], lives.upper[lives.start[u + 1] - 1]


@njit(cache=True)
def _meet(lives: Lives, u: int, v: int) -> bool:
    """Return whether two buffers are ever alive together."""
    a, a_end = lives.start[u], lives.start[u + 1]
    b, b_end = lives.start[v], lives.start[v + 1]
    while a < a_end and b < b_end:
        if lives.upper[a] <= lives.lower[b]:
            a += 1
        elif lives.upper[b] <= lives.lower[a]:
            b += 1
        else:
            return True
    return False


@njit(cache=True)
def stack(
    first: np.ndarray,
    last: np.ndarray,
    size: np.ndarray,
    alignment: np.ndarray,
    offset: np.ndarray,
    order: np.ndarray,
    slots: int,
) -> np.ndarray:
    """Place each buffer in turn above all that are alive with it; n log n steps.

    Args:
        first: int64 [n]; buffers are alive, gaps included, in slots first <= t < last of time.
        last: int64 [n].
        size: int64 [n].
        alignment: int64 [n].
        offset: int64 [n]; where buffers have to lie, or -1. They come first in `order`.
        order: int64 [n]; the buffers in the order of placement.
        slots: number of slots, at least 1.

    Returns:
        Offsets, int64 [n].
    """
    # A tree over the slots: node k has the children 2k and 2k + 1, the leaves are at slots + t.
    inside = np.zeros(2 * slots, np.int64)  # the highest top within the node
    across = np.zeros(2 * slots, np.int64)  # the highest top of what covers the whole node
    offsets = offset.copy()
    for u in order:
        top = 0
        a, b = first[u] + slots, last[u] + slots - 1
        for end in (a, b):
            while end > 0:
                top = max(top, across[end])
                end //= 2
        left, right = a, b + 1
        while left < right:
            if left % 2:
                top = max(top, inside[left])
                left += 1
            if right % 2:
                right -= 1
                top = max(top, inside[right])
            left //= 2
            right //= 2
        if offsets[u] < 0:
            offsets[u] = -(-top // alignment[u]) * alignment[u]
        top = offsets[u] + size[u]
        left, right = a, b + 1
        while left < right:
            if left % 2:
                across[left] = max(across[left], top)
                inside[left] = max(inside[left], top)
                left += 1
            if right % 2:
                right -= 1
                across[right] = max(across[right], top)
                inside[right] = max(inside[right], top)
            left //= 2
            right //= 2
        for end in (a // 2, b // 2):
            while end > 0:
                inside[end] = max(inside[end], inside[2 * end], inside[2 * end + 1])
                end //= 2
    return offsets
