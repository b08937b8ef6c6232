"""Exact search for a packing within a height, compiled.

Buffers are placed one by one, each as low as it can lie, or barred from there: the
schedule-or-postpone branching of scheduling (Le Pape 1994), with buffers as tasks and height as
time. A packing in which every buffer rests on the ground or on another exists if any exists
(MiniMalloc, ASPLOS 2023, calls these canonical), so nothing is lost. The search is cut short as
follows:

- A section is a maximal set of buffers alive at once. Its unplaced buffers must fit above the
  lowest of them. Those low enough to leave room for the rest compete for that place; all others of
  the section lie above one of these.
- A barred buffer must rest on another, placed later, that blocks it where it was barred.
- A placement that blocks no other needs no alternative.

Alignment and buffers that have to lie where they do only leave out offsets: "as low as it can lie"
is the next offset that they allow.

Where to continue is learned from failures: sections in which the search failed come first (the
weighted degree of Boussemart et al. 2004), unless the order is by height alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ....envs.borrowed import borrow
from .sections import HUGE, Rules, Sections, Together

LOWEST, WEIGHT_PER_CHOICE, WEIGHT = range(3)
MODES = (LOWEST, WEIGHT_PER_CHOICE, WEIGHT)
GOES_ON, FOUND, NONE_EXISTS, TRAIL_FULL = range(4)
# Columns of State.scalars.
DEPTH, TRAILED, QUEUED, TICK, TAKEN, FIXED = range(6)


class State(NamedTuple):
    """A search that can be stopped and continued."""

    scalars: np.ndarray  # int64 [6]; TAKEN counts placements
    floor: np.ndarray  # int64 [n]; the least offset left to the buffer, its offset once placed
    barred: np.ndarray  # int64 [n]; the offset it was barred from while nothing blocks it, else -1
    placed: np.ndarray  # int64 [n]
    saved: np.ndarray  # int64 [n]; the tick its floor was last put on the trail
    unplaced: np.ndarray  # int64 [S]; sizes of the section's unplaced buffers together
    choices: np.ndarray  # int64 [S]; unplaced buffers that may be the section's next
    weight: np.ndarray  # float64 [S]; failures so far
    queue: np.ndarray  # int64 [S]; sections to look at again
    queued: np.ndarray  # int64 [S]
    chosen: np.ndarray  # int64 [n]; the buffer placed at each depth
    mark: np.ndarray  # int64 [n]; the trail's length before that
    in_the_way: np.ndarray  # int64 [n]; whether the placement raised any floor
    trail: np.ndarray  # int64 [2, any]; buffer and old floor, or n + buffer and old bar


def make_state(sections: Sections, height: int) -> State:
    """Prepare a search for a packing within a height.

    Args:
        sections: the problem; which buffers are alive together must be listed.
        height: greatest offset plus size allowed, in the unit of the sizes; positive. Buffers that
            have to lie where they do are within it.
    """
    lives, together = sections.lives, _listed(sections)
    n, s = len(together.size), len(together.load)
    state = State(
        scalars=np.zeros(6, np.int64),
        floor=_lowest_floors(lives.offset, together),
        barred=np.full(n, -1),
        placed=(lives.offset >= 0).astype(np.int64),
        saved=np.zeros(n, np.int64),
        unplaced=together.load.copy(),
        choices=np.ones(s, np.int64),
        weight=1.0 + 0.5 * together.load / height,
        queue=np.arange(s),
        queued=np.ones(s, np.int64),
        chosen=np.zeros(n, np.int64),
        mark=np.zeros(n, np.int64),
        in_the_way=np.zeros(n, np.int64),
        trail=np.zeros((2, 32 * n + 64), np.int64),
    )
    for u in np.flatnonzero(state.placed):
        home = together.where[together.where_start[u] : together.where_start[u + 1]]
        state.unplaced[home] -= together.size[u]
    state.scalars[QUEUED] = s
    state.scalars[DEPTH] = state.scalars[FIXED] = state.placed.sum()
    return state


def _listed(sections: Sections) -> Together:
    if sections.together is None:
        raise ValueError("too many buffers are alive together for a search")
    return sections.together


def with_longer_trail(state: State) -> State:
    """Return the same search with twice the room on its trail; for TRAIL_FULL."""
    return state._replace(trail=np.concatenate([state.trail, np.zeros_like(state.trail)], axis=1))


def search(
    sections: Sections, state: State, height: int, rank: np.ndarray, mode: int, count: int
) -> int:
    """Continue a search.

    Args:
        sections: the problem, of n buffers.
        state: of the search, changed in place; on FOUND, state.floor are the offsets.
        height: limit; the same at every call.
        rank: int64 [n]; among buffers that could lie equally low, the least goes first.
        mode: one of MODES; how the next buffer is chosen.
        count: number of placements after which to stop.

    Returns:
        GOES_ON, FOUND, NONE_EXISTS, or TRAIL_FULL: continue `with_longer_trail`.
    """
    return int(_search(_listed(sections), state, height, rank, mode, count))


@njit(cache=True)
def _search(
    together: Together, state: State, height: int, rank: np.ndarray, mode: int, count: int
) -> int:
    together, state, rank = borrow(together), borrow(state), borrow(rank)
    scalars, n = state.scalars, len(together.size)
    until = scalars[TAKEN] + count
    while scalars[TAKEN] < until:
        if scalars[TRAILED] + 4 * n + 4 > state.trail.shape[1]:
            return TRAIL_FULL
        if _propagate(together, state, height):
            if scalars[DEPTH] == n:
                return FOUND
            if mode == LOWEST:
                u = _lowest(state, rank)
            else:
                u = _lowest_near(together, state, rank, _pick_section(state, mode))
            if _place(together, state, height, u):
                continue
        if not _retreat(together, state, height):
            return NONE_EXISTS
    return GOES_ON


@njit(cache=True)
def _enqueue(together: Together, state: State, u: int) -> None:
    for k in range(together.where_start[u], together.where_start[u + 1]):
        s = together.where[k]
        if state.queued[s] == 0:
            state.queued[s] = 1
            state.queue[state.scalars[QUEUED]] = s
            state.scalars[QUEUED] += 1


@njit(cache=True)
def _settled(together: Together, u: int, at: int) -> int:
    """Return the least offset of u from `at` up: aligned, and clear of what has to lie near it."""
    return int(_allowed(together.rules, u, at, together.size[u]))


@njit(cache=True)
def _allowed(rules: Rules | None, u: int, at: int, size: int) -> int:
    if rules is None:  # decided when compiled, which needs an argument
        return at
    else:
        step = rules.alignment[u]
        at = -(-at // step) * step
        for k in range(rules.start[u], rules.start[u + 1]):
            if rules.low[k] < at + size and at < rules.top[k]:
                at = -(-rules.top[k] // step) * step
        return at


@njit(cache=True)
def _lowest_floors(offset: np.ndarray, together: Together) -> np.ndarray:
    """Return the least offset of each buffer, int64 [n], given those that have to lie at one."""
    floors = offset.copy()
    for u in range(len(floors)):
        if floors[u] < 0:
            floors[u] = _settled(together, u, 0)
    return floors


@njit(cache=True)
def _raise_floor(together: Together, state: State, u: int, floor: int) -> None:
    """Raise a floor to a settled one; the old one goes on the trail once a tick."""
    if state.saved[u] != state.scalars[TICK]:
        state.saved[u] = state.scalars[TICK]
        _push_trail(state, u, state.floor[u])
    state.floor[u] = floor
    _enqueue(together, state, u)


@njit(cache=True)
def _push_trail(state: State, key: int, value: int) -> None:
    at = state.scalars[TRAILED]
    state.trail[0, at] = key
    state.trail[1, at] = value
    state.scalars[TRAILED] += 1


@njit(cache=True)
def _propagate(together: Together, state: State, height: int) -> bool:
    """Raise floors until no more follow; return False if a buffer cannot fit."""
    while True:
        while state.scalars[QUEUED] > 0:
            state.scalars[QUEUED] -= 1
            s = state.queue[state.scalars[QUEUED]]
            state.queued[s] = 0
            if state.unplaced[s] > 0 and not _check_section(together, state, height, s):
                state.weight[s] += 1
                return False
        for u in range(len(together.size)):
            if state.barred[u] >= 0 and state.placed[u] == 0:
                floor = _above_blocker(together, state, u, state.barred[u])
                if floor + together.size[u] > height:
                    return False
                if floor > state.floor[u]:
                    _raise_floor(together, state, u, floor)
        if state.scalars[QUEUED] == 0:
            return True


@njit(cache=True)
def _check_section(together: Together, state: State, height: int, s: int) -> bool:
    """Raise floors by what a section's unplaced buffers imply; return False if they cannot fit."""
    limit = height - state.unplaced[s]  # the next of the section lies no higher
    count, above = 0, HUGE
    for k in range(together.start[s], together.start[s + 1]):
        u = together.members[k]
        if state.placed[u] == 0 and state.floor[u] <= limit:
            count += 1
            above = min(above, state.floor[u] + together.size[u])
    state.choices[s] = max(count, 1)
    if count == 0:
        return False
    for k in range(together.start[s], together.start[s + 1]):
        u = together.members[k]
        if state.placed[u] == 0 and limit < state.floor[u] < above:
            _raise_floor(together, state, u, _settled(together, u, above))
            if state.floor[u] + together.size[u] > height:
                return False
    return True


@njit(cache=True)
def _above_blocker(together: Together, state: State, u: int, bar: int) -> int:
    """Return the least offset of u above an unplaced buffer that can block it at offset `bar`."""
    least, top = HUGE, bar + together.size[u]
    for k in range(together.near_start[u], together.near_start[u + 1]):
        v = together.near[k]
        if state.placed[v] == 0 and state.floor[v] < top:
            least = min(least, state.floor[v] + together.size[v])
    return least if least == HUGE else _settled(together, u, least)


@njit(cache=True)
def _before(state: State, rank: np.ndarray, u: int, v: int) -> bool:
    """Return whether u goes before v, which may be -1 for none."""
    if v < 0 or state.floor[u] < state.floor[v]:
        return True
    return bool(state.floor[u] == state.floor[v] and rank[u] < rank[v])


@njit(cache=True)
def _lowest(state: State, rank: np.ndarray) -> int:
    best = -1
    for u in range(len(rank)):
        if state.placed[u] == 0 and _before(state, rank, u, best):
            best = u
    return best


@njit(cache=True)
def _pick_section(state: State, mode: int) -> int:
    best, most = -1, -1.0
    for s in range(len(state.weight)):
        if state.unplaced[s] > 0:
            worth = state.weight[s]
            if mode == WEIGHT_PER_CHOICE:
                worth /= state.choices[s]
            if worth > most:
                best, most = s, worth
    return best


@njit(cache=True)
def _lowest_near(together: Together, state: State, rank: np.ndarray, s: int) -> int:
    """Return the section's lowest buffer; or, while a lower one is alive with it, that one.

    So nothing is ever placed where a buffer could still come to lie below it.
    """
    best = -1
    for k in range(together.start[s], together.start[s + 1]):
        u = together.members[k]
        if state.placed[u] == 0 and _before(state, rank, u, best):
            best = u
    while True:
        lower = best
        for k in range(together.near_start[best], together.near_start[best + 1]):
            u = together.near[k]
            below = state.placed[u] == 0 and state.floor[u] < state.floor[best]
            if below and _before(state, rank, u, lower):
                lower = u
        if lower == best:
            return best
        best = lower


@njit(cache=True)
def _place(together: Together, state: State, height: int, u: int) -> bool:
    """Place u on its floor; return False if another buffer has no room above it."""
    scalars, depth, n = state.scalars, state.scalars[DEPTH], len(together.size)
    state.chosen[depth] = u
    state.mark[depth] = scalars[TRAILED]
    state.in_the_way[depth] = 0
    state.placed[u] = 1
    scalars[DEPTH] += 1
    scalars[TAKEN] += 1
    scalars[TICK] += 1
    fits, top = True, state.floor[u] + together.size[u]
    for k in range(together.near_start[u], together.near_start[u + 1]):
        v = together.near[k]
        if state.placed[v]:
            continue
        if state.barred[v] >= 0 and state.floor[u] < state.barred[v] + together.size[v]:
            _push_trail(state, n + v, state.barred[v])
            state.barred[v] = -1  # u blocks it
        if state.floor[v] < top:
            state.in_the_way[depth] = 1
            _raise_floor(together, state, v, _settled(together, v, top))
            fits &= state.floor[v] + together.size[v] <= height
    for k in range(together.where_start[u], together.where_start[u + 1]):
        s = together.where[k]
        state.unplaced[s] -= together.size[u]
    _enqueue(together, state, u)
    return fits


@njit(cache=True)
def _retreat(together: Together, state: State, height: int) -> bool:
    """Take back placements up to one with an alternative, and bar it; return False if none has."""
    scalars, n = state.scalars, len(together.size)
    while scalars[QUEUED] > 0:
        scalars[QUEUED] -= 1
        state.queued[state.queue[scalars[QUEUED]]] = 0
    while scalars[DEPTH] > scalars[FIXED]:
        scalars[DEPTH] -= 1
        scalars[TICK] += 1
        depth = scalars[DEPTH]
        u = state.chosen[depth]
        while scalars[TRAILED] > state.mark[depth]:
            scalars[TRAILED] -= 1
            key = state.trail[0, scalars[TRAILED]]
            value = state.trail[1, scalars[TRAILED]]
            if key >= n:
                state.barred[key - n] = value
            else:
                state.floor[key] = value
        state.placed[u] = 0
        for k in range(together.where_start[u], together.where_start[u + 1]):
            s = together.where[k]
            state.unplaced[s] += together.size[u]
        if state.in_the_way[depth] == 0:
            continue
        floor = _above_blocker(together, state, u, state.floor[u])
        if floor + together.size[u] <= height:
            _push_trail(state, n + u, state.barred[u])
            state.barred[u] = state.floor[u]
            _raise_floor(together, state, u, floor)
            return True
    return False
