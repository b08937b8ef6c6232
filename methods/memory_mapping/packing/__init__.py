"""Static allocation, a problem beside the game: an offset for each buffer of fixed lifetime.

`pack` tries greedies, then the exact search of search.py, within a capacity or as low as possible.
Alignments, gaps in lifetimes and given offsets are part of the problem; gaps that keep some of a
buffer's bytes go to CP-SAT (windows.py).
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ....core.budget import Budget, Clock
from ....core.errors import InstanceError
from ....core.files import write_bytes
from ....datasets.memory_mapping.packing import FREE, Packing, packing_faults
from . import search as exact
from . import windows
from .greedy import begin_fit, best_fit, fit_next, stack
from .sections import HUGE, make_sections

Status = Literal["optimal", "feasible", "infeasible", "gave up"]
# Sort keys, greatest first: T the fullest section the buffer is alive in, W its lifetime, w that in
# sections, A size times lifetime, Z size.
GREEDY_ORDERS = ("ZWA", "AZW", "WZA", "wZA", "TWA", "TZA", "TAZ")
SEARCH_ORDERS = ("TWA", "TwA", "TAZ", "WTA", "TZA")
RANDOM_ORDERS = 4  # further orders in all rounds but the first
NOISE = 0.2  # largest relative increase of a key in random orders
FIRST_EFFORT = 4  # placements of a search in the first round, a buffer
GROWTH = 4  # factor of the effort from round to round
LARGE = 2000  # buffers of a part, above which it is packed greedily in each round, too
RANDOM_FITS = 4  # by so many random orders
PAIRS_A_SECOND = 5e6  # listed of buffers alive together; those that take too long are not
FIT_SLICE = 256  # buffers placed greedily between looks at the clock
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
            first; evaluations do not cut them short, seconds do. CP-SAT counts no evaluations.
        seed: draws orders for the search's later rounds; the first is the same for all.

    Raises:
        InstanceError: the sizes add up to more than int64 holds, or buffers overlap at offsets
            that are given.
    """
    clock = budget.start()
    if sum(map(int, packing.size)) + int(packing.offset.max(initial=0)) >= HUGE:
        raise InstanceError(f"{packing.name}: the sizes add up to 2^61 or more; give larger units")
    _check_fixed(packing)
    edges = [edge for gap in packing.gaps for edge in (gap.low, gap.high)]
    fixed = packing.offset[packing.offset != FREE]
    aligned = packing.alignment[packing.alignment > 1]
    # Heights that matter are multiples of it.
    unit = int(np.gcd.reduce([*packing.size, *aligned, *fixed, *edges])) or 1
    tops = np.where(packing.offset == FREE, 0, packing.offset) + packing.size
    capacity, bound = packing.capacity, max(packing.peak_load, int(tops.max(initial=0)))
    impossible = 0 < capacity < bound
    offsets = _stacked(packing)
    # Without windows, what keeps some bytes in a gap keeps all: that is still a packing.
    solid = replace(packing, gaps=tuple(gap for gap in packing.gaps if gap.low == gap.high))
    windowed = len(solid.gaps) < len(packing.gaps)
    parts = []
    for rows in () if impossible else _components(packing):
        if int((offsets + packing.size)[rows].max()) > (capacity or bound):
            parts.append(_Part(solid, rows, offsets[rows], capacity or bound, clock))
    if windowed and _height(parts) > (capacity or bound) and not clock.expired:
        _collect(parts, offsets)
        offsets, bound = windows.lower(packing, offsets, bound, unit, clock, seed)
        parts = []
    rng = np.random.default_rng(seed)
    for turn in itertools.count():
        if impossible or _height(parts) <= (capacity or bound) or clock.expired or windowed:
            break
        if capacity == 0:
            bound = _tighten(parts, bound, unit, turn, rng, clock)
        elif _decide(parts, capacity, turn, rng, clock) is False:
            bound = (capacity // unit + 1) * unit
            impossible = True
    _collect(parts, offsets)
    height = int((offsets + packing.size).max(initial=0))
    status: Status
    if capacity == 0:
        status = "optimal" if height == bound else "feasible"
    elif height <= capacity:
        status = "feasible"
    else:
        status = "infeasible" if bound > capacity else "gave up"
    return Packed(offsets, height, bound, status)


def _check_fixed(packing: Packing) -> None:
    """Refuse given offsets at which buffers overlap."""
    fixed = packing.offset != FREE
    if not fixed.any():
        return
    # All others go above these, one on another.
    ground = int((packing.offset + packing.size)[fixed].max())
    above = ground + np.cumsum(packing.size) - packing.size
    offsets = np.where(fixed, packing.offset, above)
    faults = packing_faults(packing, offsets, ground + int(packing.size.sum()))
    for fault in faults:
        if fault.endswith("overlap"):
            raise InstanceError(f"{packing.name}: at the offsets given {fault}; correct one")


def _stacked(packing: Packing) -> np.ndarray:
    """Return the offsets of a packing, int64 [n], at once for any number of buffers."""
    times = np.unique(np.concatenate([packing.lower, packing.upper]))
    first, last = np.searchsorted(times, packing.lower), np.searchsorted(times, packing.upper)
    order = np.lexsort((-packing.size, packing.offset == FREE))
    order = order[np.isin(order, packing.pieces.buffer)]
    placed: np.ndarray = stack(
        first, last, packing.size, packing.alignment, packing.offset, order, max(len(times), 1)
    )
    placed[placed < 0] = 0  # what never needs memory
    return placed


def _collect(parts: list[_Part], offsets: np.ndarray) -> None:
    """Write the parts' offsets to those of all, int64 [n]."""
    for part in parts:
        offsets[part.rows] = part.offsets


def warm_up() -> None:
    """Compile the search, so that no later call does so on its clock."""
    column = np.array([1, 1])
    pair = Packing("pair", ("a", "b"), column - 1, column, column, 2)
    clock = Budget(seconds=3600.0).start()
    for problem in (pair, replace(pair, alignment=2 * column)):
        part = _Part(problem, np.arange(2), _stacked(pair), 0, clock)
        best_fit(part.sections, np.arange(2))
        best_fit(replace(part.sections, together=None), np.arange(2))
        _search(part, 2, part.rank(SEARCH_ORDERS[0]), exact.LOWEST, 8, clock)


def write_solution(packing: Packing, packed: Packed, path: Path) -> None:
    """Write minimalloc's solution CSV: id, lower, upper, size, offset; alignment and gaps if any.

    Args:
        packing: the problem.
        packed: its solution.
        path: file to write.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = {"id": packing.ids, "lower": packing.lower.tolist(), "upper": packing.upper.tolist()}
    columns["size"] = packing.size.tolist()
    if (packing.alignment != 1).any():
        columns["alignment"] = packing.alignment.tolist()
    if packing.gaps:
        gaps = [""] * len(packing.ids)
        for gap in packing.gaps:
            kept = f"@{gap.low}:{gap.high}" if gap.low < gap.high else ""
            gaps[gap.buffer] += f" {gap.lower}-{gap.upper}{kept}"
        columns["gaps"] = [text.strip() for text in gaps]
    columns["offset"] = packed.offsets.tolist()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    write_bytes(path, text.getvalue().encode())


def _components(packing: Packing) -> Iterator[np.ndarray]:
    """Yield the rows of buffers that touch no buffer outside, in order of time.

    Buffers that never need memory are left out. A packing of each component is a packing of all.
    """
    rows = np.unique(packing.pieces.buffer)
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

    def __init__(
        self, packing: Packing, rows: np.ndarray, offsets: np.ndarray, aim: int, clock: Clock
    ) -> None:
        lower, upper, size = packing.lower[rows], packing.upper[rows], packing.size[rows]
        self.rows = rows
        places = np.full(len(packing.ids), -1)
        places[rows] = np.arange(len(rows))
        pieces = packing.pieces
        mine = places[pieces.buffer] >= 0
        self.sections = make_sections(
            pieces.lower[mine],
            pieces.upper[mine],
            size,
            places[pieces.buffer[mine]],
            packing.alignment[rows],
            packing.offset[rows],
            int(PAIRS_A_SECOND * clock.remaining),
        )
        life = (upper - lower).astype(float)
        fullest = spans = np.zeros(len(rows))
        together = self.sections.together
        if together is not None:
            starts = together.where_start
            fullest = np.maximum.reduceat(together.load[together.where], starts[:-1])
            spans = np.diff(starts).astype(float)
        keys = (fullest, life, spans, life * size, size)
        self.keys = {letter: -key for letter, key in zip("TWwAZ", keys, strict=True)}
        self.offsets, self.height = offsets, int((offsets + size).max())
        for order in GREEDY_ORDERS:
            if self.height > aim:
                self.fit(self.rank(order), clock)

    @property
    def searchable(self) -> bool:
        """Whether it is small enough for the exact search."""
        return self.sections.together is not None

    def fit(self, rank: np.ndarray, clock: Clock) -> None:
        """Pack greedily by rank, int64 [n]; given up when the seconds are spent."""
        order = np.argsort(rank)
        fit = begin_fit(self.sections.lives)
        while clock.remaining > 0:
            if not fit_next(self.sections, order, fit, FIT_SLICE):
                clock.evaluations += len(rank)
                self.take(fit.offsets)
                break

    def take(self, offsets: np.ndarray) -> None:
        """Keep offsets int64 [n] if they are lower."""
        height = int((offsets + self.sections.lives.size).max())
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
        for _ in range(RANDOM_FITS if len(part.rows) > LARGE else 0):
            part.fit(part.random_rank(rng), clock)
        for rank, mode in itertools.product(ranks if part.searchable else (), exact.MODES):
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
