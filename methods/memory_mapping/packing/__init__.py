"""Static allocation, a problem beside the game: an offset for each buffer of fixed lifetime.

`pack` tries greedies, then the exact search of search.py, within a capacity or as low as possible.
The game's contenders do not use it; it is compared with minimalloc by `sysopt-gym bench packing`.
From a shell: `python -m sysopt_gym.methods.memory_mapping.packing FILE.csv --out solution.csv`.

OmniMalloc 1.0.0 was tried in place of the search and left the eleven public minimalloc instances at
1.04 to 1.16 of their capacity in 3 seconds each.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numba import njit

from ....core.budget import Budget, Clock
from ....core.errors import InstanceError
from ....core.files import write_bytes
from ....datasets.memory_mapping.packing import HEADER, Packing
from . import search as exact

Status = Literal["optimal", "feasible", "infeasible", "gave up"]
# Sort keys, greatest first: T the fullest section the buffer is alive in, W its lifetime, w that in
# sections, A size times lifetime, Z size.
GREEDY_ORDERS = ("ZWA", "AZW", "WZA", "wZA", "TWA", "TZA", "TAZ")
SEARCH_ORDERS = ("TWA", "TwA", "TAZ", "WTA", "TZA")
RANDOM_ORDERS = 4  # further orders in all rounds but the first
NOISE = 0.2  # largest relative increase of a key in random orders
FIRST_EFFORT = 4  # placements of a search in the first round, a buffer
GROWTH = 4  # factor of the effort from round to round
SLICE_S = 0.005  # seconds between looks at the clock
FIRST_SLICE = 64  # placements before the first look at the clock


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Offsets without overlap, and what is proven.

    Attributes:
        offsets: int64 [n], from 0. If the status is "infeasible" or "gave up" they exceed the
            capacity.
        height: the largest offset plus size.
        bound: proven: no packing is lower.
        status: with a capacity: "feasible", the offsets are within it; "infeasible", proven that
            none are; "gave up", the budget ended first. Without: "optimal", proven that none are
            lower; else "feasible".
    """

    offsets: np.ndarray
    height: int
    bound: int
    status: Status


def pack(packing: Packing, budget: Budget, seed: int) -> Packed:
    """Find offsets within the packing's capacity, or, if that is 0, as low as possible.

    Args:
        packing: the problem; `dataclasses.replace(packing, capacity=...)` sets another capacity.
        budget: seconds and evaluations; one evaluation is one buffer placed. The greedies come
            first and are always completed.
        seed: draws orders for the search's later rounds; the first is the same for all.

    Raises:
        InstanceError: the sizes add up to more than int64 holds.
    """
    clock = budget.start()
    if sum(map(int, packing.size)) >= exact.HUGE:
        raise InstanceError(f"{packing.name}: the sizes add up to 2^61 or more; give larger units")
    parts = [_Part(packing, rows, clock) for rows in _components(packing)]
    unit = int(np.gcd.reduce(packing.size)) or 1  # heights that matter are multiples of it
    capacity, bound = packing.capacity, packing.peak_load
    rng = np.random.default_rng(seed)
    for turn in itertools.count():
        impossible = 0 < capacity < bound
        if impossible or _height(parts) <= (capacity or bound) or clock.expired:
            break
        if capacity == 0:
            bound = _tighten(parts, bound, unit, turn, rng, clock)
        elif _decide(parts, capacity, turn, rng, clock) is False:
            bound = (capacity // unit + 1) * unit
    offsets = np.zeros(len(packing.ids), np.int64)
    for part in parts:
        offsets[part.rows] = part.offsets
    height = _height(parts)
    status: Status
    if capacity == 0:
        status = "optimal" if height == bound else "feasible"
    elif height <= capacity:
        status = "feasible"
    else:
        status = "infeasible" if bound > capacity else "gave up"
    return Packed(offsets, height, bound, status)


def warm_up() -> None:
    """Compile the search, so that no later call does so on its clock."""
    column = np.array([1, 1])
    pair = Packing("pair", ("a", "b"), column - 1, column, column, 2)
    clock = Budget(seconds=3600.0).start()
    part = _Part(pair, np.arange(2), clock)
    _search(part, 2, part.rank(SEARCH_ORDERS[0]), exact.LOWEST, 8, clock)


def write_solution(packing: Packing, packed: Packed, path: Path) -> None:
    """Write minimalloc's solution CSV: id, lower, upper, size, offset.

    Args:
        packing: the problem.
        packed: its solution.
        path: file to write.

    Raises:
        OutputError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*HEADER.split(","), "offset"])
    columns = (packing.lower, packing.upper, packing.size, packed.offsets)
    table.writerows(zip(packing.ids, *(column.tolist() for column in columns), strict=True))
    write_bytes(path, text.getvalue().encode())


def _components(packing: Packing) -> Iterator[np.ndarray]:
    """Yield the rows of buffers that touch no buffer outside, in order of time.

    Buffers of size 0 are left out. A packing of each component is a packing of all.
    """
    rows = np.flatnonzero(packing.size)
    rows = rows[np.argsort(packing.lower[rows], kind="stable")]
    reach = np.maximum.accumulate(packing.upper[rows])
    cuts = np.flatnonzero(packing.lower[rows][1:] >= reach[:-1]) + 1
    return (np.sort(part) for part in np.split(rows, cuts) if len(part))


def _height(parts: list[_Part]) -> int:
    """Return the greatest height of the parts; 0 for none."""
    return max((part.height for part in parts), default=0)


class _Part:
    """One component: its sections, its orders, and the lowest packing so far.

    Attributes:
        rows: int64 [n]; the packing's buffers in it.
        sections: the component as a problem of its own.
        keys: sort keys, float [n] each, by their letter.
        offsets: int64 [n]; the lowest packing so far, of `height`.
    """

    def __init__(self, packing: Packing, rows: np.ndarray, clock: Clock) -> None:
        lower, upper, size = packing.lower[rows], packing.upper[rows], packing.size[rows]
        self.rows = rows
        self.sections = exact.make_sections(lower, upper, size)
        first, last = self.sections.first, self.sections.last
        fullest = [self.sections.load[a:b].max() for a, b in zip(first, last, strict=True)]
        life = (upper - lower).astype(float)
        keys = (np.array(fullest), life, last - first, life * size, size)
        self.keys = {letter: -key for letter, key in zip("TWwAZ", keys, strict=True)}
        self.offsets, self.height = np.zeros(0, np.int64), exact.HUGE
        for order in GREEDY_ORDERS:
            self.take(best_fit(self.sections, np.argsort(self.rank(order), kind="stable")))
            clock.evaluations += len(rows)

    def take(self, offsets: np.ndarray) -> None:
        """Keep offsets int64 [n] if they are lower."""
        height = int((offsets + self.sections.size).max())
        if height < self.height:
            self.offsets, self.height = offsets, height

    def rank(self, order: str) -> np.ndarray:
        """Return each buffer's place, int64 [n], by the keys in `order`, the first foremost."""
        return _ranks_of(np.lexsort([self.keys[letter] for letter in reversed(order)]))

    def random_rank(self, rng: np.random.Generator) -> np.ndarray:
        """Return places in a random order of the keys, each buffer's made up to a fifth larger."""
        letters = rng.permutation(list(self.keys))
        scale = 1 + NOISE * rng.random(len(self.rows))
        return _ranks_of(np.lexsort([self.keys[letter] * scale for letter in letters]))


def _ranks_of(order: np.ndarray) -> np.ndarray:
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


@njit(cache=True)
def best_fit(sections: exact.Sections, order: np.ndarray) -> np.ndarray:
    """Place each buffer in turn into the smallest gap that holds it.

    Gaps lie between the buffers already placed that are alive with it; ties go to the lowest gap,
    and if no gap is large enough the buffer goes above all.

    Args:
        sections: the problem, of n buffers.
        order: int64 [n]; the buffers in the order of placement.

    Returns:
        Offsets, int64 [n].
    """
    n = len(order)
    offsets = np.full(n, -1)
    lows, tops = np.empty(n, np.int64), np.empty(n, np.int64)
    for u in order:
        count = 0
        for k in range(sections.near_start[u], sections.near_start[u + 1]):
            v = sections.near[k]
            if offsets[v] >= 0:
                lows[count] = offsets[v]
                tops[count] = offsets[v] + sections.size[v]
                count += 1
        best, least, ground = -1, exact.HUGE, 0
        for k in np.argsort(lows[:count]):
            gap = lows[k] - ground
            if sections.size[u] <= gap < least:
                best, least = ground, gap
            ground = max(ground, tops[k])
        offsets[u] = ground if best < 0 else best
    return offsets


def _tighten(
    parts: list[_Part], bound: int, unit: int, turn: int, rng: np.random.Generator, clock: Clock
) -> int:
    """Run a round of bisection between bound, tried first, and height; return the new bound."""
    given_up = bound - unit  # at all heights up to here, in this round, or ruled out
    aim = bound
    while given_up < aim < _height(parts) and not clock.expired:
        answer = _decide(parts, aim, turn, rng, clock)
        if answer is False:
            bound = aim + unit
        if not answer:
            given_up = aim
        aim = (given_up + _height(parts)) // 2 // unit * unit
    return bound


def _decide(
    parts: list[_Part], height: int, turn: int, rng: np.random.Generator, clock: Clock
) -> bool | None:
    """Decide whether a packing within a height exists; None if that took too long.

    Each round takes longer; those after the first try random orders too. Parts keep the packings
    that are found for them.
    """
    unsure = False
    for part in parts:
        if part.height <= height:
            continue
        ranks = [part.rank(order) for order in SEARCH_ORDERS]
        if turn:
            ranks += [part.random_rank(rng) for _ in range(RANDOM_ORDERS)]
        effort = FIRST_EFFORT * GROWTH**turn * len(part.rows)
        outcome = exact.GOES_ON
        for rank, mode in itertools.product(ranks, exact.MODES):
            outcome = _search(part, height, rank, mode, effort, clock)
            if outcome != exact.GOES_ON or clock.expired:
                break
        if outcome == exact.NONE_EXISTS:
            return False
        unsure |= outcome == exact.GOES_ON
    return None if unsure else True


def _search(
    part: _Part, height: int, rank: np.ndarray, mode: int, effort: int, clock: Clock
) -> int:
    """Search one order in slices until decided, out of `effort` placements, or out of time."""
    state = exact.make_state(part.sections, height)
    limit = clock.budget.evaluations
    count, taken = FIRST_SLICE, 0
    while taken < effort and not clock.expired:
        count = min(count, effort - taken)
        if limit is not None:
            count = min(count, limit - clock.evaluations)
        before = clock.elapsed
        outcome = exact.search(part.sections, state, height, rank, mode, count)
        spent = int(state.scalars[exact.TAKEN]) - taken
        clock.evaluations += spent
        taken += spent
        if outcome == exact.TRAIL_FULL:
            state = exact.with_longer_trail(state)
        elif outcome != exact.GOES_ON:
            if outcome == exact.FOUND:
                part.take(state.floor)
            return int(outcome)
        pace = (clock.elapsed - before) / max(spent, 1)
        count = int(min(2 * count, max(1.0, SLICE_S / max(pace, 1e-7))))
    return exact.GOES_ON
