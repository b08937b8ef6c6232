"""Memory-space assignment (MSA) like XLA's, its outcome replayed in the game.

Values go by priority, prefetches by an interval picker, in one greedy pass. After openxla/xla,
xla/service/memory_space_assignment (options, cost_analysis, prefetch_interval_picker, algorithm),
simplified: no cross-program prefetches, no repacking, one retry. It plans on the all-slow times,
out of program order; if the game's rules do not allow a planned use, the use is dropped. As in
XLA, what a loop carries is in fast memory throughout it, or copied in before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import RESERVE, Static
from ...envs.memory_mapping.rings import NONE, carrying
from ...envs.memory_mapping.static import FIRST, LAST, TIME_BEFORE
from ...methods.memory_mapping.best import Best

# Ratios of XLA's test fixtures; those of its backends are not published.
R_MIN, R_PREFERRED, R_MAX = 0.8, 1.5, 10.0
MOST_EARLIER = 100  # starts tried before the preferred one, about
SHARE = 0.5  # of the seconds for the assignment; the rest is for its replay
BUCKET = 64  # instructions whose chunks are listed together


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan as XLA's memory-space assignment would; values the budget leaves no time for stay slow.

    Args:
        instance: the program.
        budget: seconds and evaluations; the one evaluation is the replay of the assignment.
        seed: not used; nothing is random.
    """
    clock = budget.start()
    best = Best(instance, clock)
    best.try_wishes(assign(best.static, clock, SHARE * budget.seconds))
    return clock.solution(best.plan)


@dataclass(slots=True, eq=False)
class _Chunk:
    """An address range, held over instructions start..end (inclusive)."""

    offset: int
    size: int
    start: int
    end: int


@dataclass(slots=True)
class _Plan:
    """The assignment so far.

    Attributes:
        static: the program.
        elapsed: int64 [I+1]; all-slow time before each instruction, ps.
        prefetch, evict: int64 [I]; slow memory's free time left to either kind of copy, ps. XLA
            keeps a pool for each.
        longest: the longest time that a value may stay or a prefetch may take, ps.
        chunks: address ranges taken, by BUCKET instructions that they are held in.
        wishes: int8 [D]; 1 for uses in fast memory.
    """

    static: Static
    elapsed: np.ndarray
    prefetch: np.ndarray
    evict: np.ndarray
    longest: float
    chunks: dict[int, dict[_Chunk, None]] = field(default_factory=lambda: defaultdict(dict))
    wishes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))

    def between(self, start: int, end: int) -> int:
        """Return the all-slow time strictly between two instructions, ps."""
        return int(self.elapsed[end] - self.elapsed[min(start + 1, end)])

    def take(self, chunk: _Chunk) -> None:
        """List a chunk in the buckets it is held in."""
        for bucket in range(chunk.start // BUCKET, chunk.end // BUCKET + 1):
            self.chunks[bucket][chunk] = None

    def give_back(self, chunk: _Chunk) -> None:
        """Undo `take`."""
        for bucket in range(chunk.start // BUCKET, chunk.end // BUCKET + 1):
            self.chunks[bucket].pop(chunk, None)

    def taken(self, start: int, end: int) -> Iterator[_Chunk]:
        """Yield the chunks held in any of the instructions start..end, some of them repeatedly."""
        for bucket in range(start // BUCKET, end // BUCKET + 1):
            for chunk in self.chunks[bucket]:
                if chunk.start <= end and chunk.end >= start:
                    yield chunk


def assign(static: Static, clock: Clock, seconds: float = np.inf) -> np.ndarray:
    """Choose the uses to put in fast memory, by MSA's greedy pass over the values.

    Args:
        static: the program.
        clock: ends the assignment; values not yet treated stay in slow memory.
        seconds: seconds after which the assignment ends, too.

    Returns:
        Wishes, int8 [D]; 1 for fast memory.
    """
    until = clock.elapsed + seconds
    if clock.expired:
        return np.zeros(len(static.dec_instr), np.int8)
    times = np.maximum(static.instr_compute, static.instr_slow)
    plan = _Plan(
        static=static,
        elapsed=np.concatenate([[0], np.cumsum(times)]),
        prefetch=times.copy(),
        evict=times.copy(),
        longest=_longest(static),
        wishes=np.zeros(len(static.dec_instr), np.int8),
    )
    uses: list[list[int]] = [[] for _ in static.buf_size]
    for decision, buffer in enumerate(static.dec_buffer):
        uses[buffer].append(decision)
    for buffer in by_priority(static, uses):
        if clock.expired or clock.elapsed > until:
            break
        _place_value(plan, uses[buffer], int(buffer))
    return plan.wishes


def by_priority(static: Static, uses: list[list[int]]) -> list[int]:
    """Sort buffers by memory boundedness (XLA's cost_analysis), then by size, largest first.

    A use's boundedness is the time that fast memory saves it; if its instruction is bound by
    compute, it is slow memory's time less the compute time, which is negative. A buffer's is the
    sum of its uses' positive ones, or else the largest, over the root of its size.

    Args:
        static: the program.
        uses: each buffer's decisions, in order.

    Returns:
        Buffers, the highest priority first.
    """
    worth = []
    for buffer, decisions in enumerate(uses):
        total: float | None = None
        for d in decisions:
            instr = static.dec_instr[d]
            slow, compute = int(static.instr_slow[instr]), int(static.instr_compute[instr])
            term = float(slow - compute)
            if term > 0:
                term = float(static.dec_slow[d] - static.dec_fast[d])
            if total is None:
                total = term
            else:
                total = total + term if total > 0 and term > 0 else max(total, term)
        size = int(static.buf_size[buffer])
        worth.append((-(total or 0.0) / size**0.5, -size, decisions[0], buffer))
    return [row[-1] for row in sorted(worth)]


def _place_value(plan: _Plan, decisions: list[int], buffer: int) -> None:
    """Assign one value's uses: stay in fast memory, else prefetch, else use slow memory."""
    static = plan.static
    held: _Chunk | None = None  # the range that has the value
    before = -1
    only_fast = False
    made_at = -1
    own: list[_Chunk] = []
    for d in decisions:
        instr = int(static.dec_instr[d])
        until = int(static.dec_until[d]) if static.dec_writes[d] else instr
        start, copy = instr, int(static.dec_copy[d])
        since = -1 if static.dec_makes[d] else before
        ring = int(carrying(static.rings, static.dec_ring[d], static.dec_ring[d + 1], since))
        if ring != NONE:  # what a loop carries is there from its begin to its end
            start, until = int(static.rings[ring, FIRST]), max(until, int(static.rings[ring, LAST]))
            copy = int(static.rings[ring, TIME_BEFORE])
        stays = held is not None and plan.between(before, instr) <= plan.longest
        if stays and held is not None and _is_free(plan, held, held.end + 1, until):
            held.end = max(held.end, until)
            plan.take(held)
            plan.wishes[d] = 1
        elif static.dec_makes[d]:
            held = _allocate(plan, buffer, start, until)
            plan.wishes[d] = held is not None
            own += [held] if held is not None else []
        else:
            if only_fast and not _evict(plan, buffer, made_at, start):
                plan.wishes[decisions] = 0  # rolled back: the value stays in slow memory
                for chunk in own:
                    plan.give_back(chunk)
                return
            only_fast = False
            held = _prefetch(plan, d, copy, max(before, made_at), start, until)
            plan.wishes[d] = held is not None
            own += [held] if held is not None else []
        if static.dec_writes[d]:
            made_at = instr
            only_fast = bool(plan.wishes[d]) and static.dead_end != RESERVE
            if not plan.wishes[d]:
                held = None
        before = instr


def _longest(static: Static) -> float:
    """Return the longest time that a value may stay or a prefetch may take, ps."""
    a_byte = static.buf_copy.max() / max(1, int(static.buf_size[static.buf_copy.argmax()]))
    return float(R_MAX * a_byte * static.capacity)


def _is_free(plan: _Plan, chunk: _Chunk, start: int, end: int) -> bool:
    """Return whether a chunk's addresses are free of other chunks over instructions start..end."""
    top = chunk.offset + chunk.size
    return all(
        other is chunk or other.offset >= top or other.offset + other.size <= chunk.offset
        for other in plan.taken(start, end)
    )


def _allocate(plan: _Plan, buffer: int, start: int, end: int) -> _Chunk | None:
    """Take the range in the smallest gap that is free over start..end; None if none fits."""
    size, capacity = int(plan.static.buf_size[buffer]), plan.static.capacity
    taken = sorted({(c.offset, c.offset + c.size) for c in plan.taken(start, end)})
    offset, smallest, low = -1, capacity + 1, 0
    for bottom, top in [*taken, (capacity, capacity)]:
        if size <= bottom - low < smallest:
            offset, smallest = low, bottom - low
        low = max(low, top)
    if offset < 0:
        return None
    chunk = _Chunk(offset, size, start, end)
    plan.take(chunk)
    return chunk


def _evict(plan: _Plan, buffer: int, made_at: int, use: int) -> bool:
    """Book a write-back right after the write, to end before the use; False if time is short."""
    return _book(plan.evict, made_at + 1, use, int(plan.static.buf_copy[buffer]))


def _book(pool: np.ndarray, start: int, end: int, amount: int) -> bool:
    """Take `amount` ps from instructions start..end-1, earliest first; False if there is less."""
    if pool[start:end].sum() < amount:
        return False
    for instr in range(start, end):
        part = min(int(pool[instr]), amount)
        pool[instr] -= part
        amount -= part
        if amount == 0:
            break
    return True


def _prefetch(plan: _Plan, d: int, copy: int, after: int, use: int, until: int) -> _Chunk | None:
    """Book the first of the picker's starts that has the time and the memory; None if none has."""
    buffer = int(plan.static.dec_buffer[d])
    for start in starts(plan, d, copy, after, use):
        if plan.prefetch[start + 1 : use].sum() < copy:
            continue
        chunk = _allocate(plan, buffer, start + 1, until)
        if chunk is not None:
            _book(plan.prefetch, start + 1, use, copy)
            return chunk
    return None


def starts(plan: _Plan, d: int, copy: int, after: int, use: int) -> list[int]:
    """List the instructions after which a prefetch may start, in XLA's order (cost-based picker).

    The first is nearest to R_PREFERRED times the copy's time before the use; then later and earlier
    ones alternate.

    Args:
        plan: the assignment so far.
        d: decision to prefetch for.
        copy: time of the copy, ps.
        after: earliest instruction to start after.
        use: instruction of the decision, or the first of the loop that the copy is made before.

    Returns:
        Instructions; empty if none leaves R_MIN times the copy's time.
    """
    static = plan.static
    inside = use == int(static.dec_instr[d])  # a copy before a loop does not shorten the time to it
    helps = max(0, int(static.dec_slow[d] - static.dec_fast[d])) if inside else 0
    # The time between a start and the use falls as the start rises.
    between = plan.elapsed[use] - plan.elapsed[np.minimum(np.arange(after + 1, use + 1), use)]
    latest = after + int((between + helps >= R_MIN * copy).sum()) - 1
    if latest < after:
        return []
    too_early = int((between[: latest - after] > plan.longest).sum())
    earliest = after + too_early
    between = between[too_early : latest + 1 - after]
    first = int(np.abs(between - R_PREFERRED * copy).argmin())
    later = range(first + 1, len(between))
    earlier = list(range(first - 1, -1, -1))
    stride = max(1, -(-len(earlier) // MOST_EARLIER))
    earlier = earlier[: len(later)] + earlier[len(later) :: stride]
    order = [first]
    for k in range(max(len(later), len(earlier))):
        order += [later[k]] if k < len(later) else []
        order += [earlier[k]] if k < len(earlier) else []
    return [earliest + k for k in order]
