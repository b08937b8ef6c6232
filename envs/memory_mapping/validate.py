"""The independent validator: the plan simulated again from the instance and the actions alone.

It shares no code with the dynamics: plain Python over lists and whole numbers, which searches for
every overlap from scratch and audits everything placed and copied once more at the end. Of the
instance's module it uses the codes of fields alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ...core.contracts import Verdict, World
from ...datasets.memory_mapping.instance import ARG, CONST, OUT, SLOW, Program

MAX_VIOLATIONS = 20
COPY, NO_COPY, DROP = 0, 1, 2
NAMES = ("copy", "no_copy", "drop")
SMALLEST_BYTES = 4096  # smaller buffers stay in slow memory, without a decision
PICO = 10**12  # picoseconds in a second


def validate(program: Program, actions: np.ndarray, world: World) -> Verdict:
    """Judge a plan.

    The plan is int64 [D]: Copy, NoCopy or Drop for each decision in program order. It is feasible
    if every action is legal where it stands and nothing is left undecided. At a dead end (dead_end
    backup) the write that led there becomes Drop, and the decisions since are redone.

    Args:
        program: the instance.
        actions: the plan, int64 [D].
        world: not used; nothing about the game is random.

    Returns:
        The speed-up over all-slow (NaN where the plan is infeasible), one sentence per broken
        constraint, and the detail: time_us, all_slow_us, copies, evictions, rewinds, stall_us,
        peak_bytes (of fast memory in use).
    """
    plan = np.asarray(actions)
    if plan.ndim != 1 or (plan.size and plan.dtype.kind not in "iu"):
        shape = f"shape {plan.shape}, dtype {plan.dtype}"
        return Verdict(math.nan, False, (f"a plan is whole numbers in one row; it has {shape}",))
    task = _Task.read(program)
    game, rewinds = _Game(task), 0
    taken: list[int] = []
    forced: set[int] = set()
    for at, action in enumerate(plan.tolist()):
        if game.position == len(task.uses):
            return _infeasible(f"action {at}: the program is over; nothing may follow")
        legal = game.options(forced)
        if action not in legal:
            return _infeasible(_explain(program, task, game, at, action, legal))
        game.take(action, legal[action])
        taken.append(action)
        redone = taken
        while game.position < len(task.uses) and not game.options(forced):
            if program.dead_end == "terminate":
                return _infeasible(
                    f"action {at} leads to a dead end: for decision {game.position} "
                    "nothing is legal"
                )
            forced.add(game.stored[task.uses[game.position].buffer])
            rewinds += 1
            game, redone = _redo(task, taken, forced)
        taken = redone
    if game.position < len(task.uses):
        return _infeasible(
            f"the plan ends at decision {game.position} of {len(task.uses)}; decide the rest, Drop "
            "is legal wherever slow memory has the data"
        )
    stall = game.write_back_outputs()
    found = game.audit()
    time = sum(game.time(i) for i in range(len(task.compute))) + stall
    all_slow = sum(max(c, s) for c, s in zip(task.compute, task.slow, strict=True))
    if found:
        return Verdict(math.nan, False, tuple(found[:MAX_VIOLATIONS]))
    detail = {
        "time_us": time / 1e6,
        "all_slow_us": all_slow / 1e6,
        "copies": float(taken.count(COPY)),
        "evictions": float(len(game.evictions)),
        "rewinds": float(rewinds),
        "stall_us": stall / 1e6,
        "peak_bytes": float(max((r.offset + r.size for r in game.ranges), default=0)),
    }
    return Verdict(all_slow / time if time else 1.0, True, (), detail)


def _redo(task: _Task, taken: list[int], forced: set[int]) -> tuple[_Game, list[int]]:
    """Play the same decisions again with Drop forced at some.

    A decision that is no longer legal becomes the first legal one of Drop, NoCopy and Copy.

    Args:
        task: the program as the validator sees it.
        taken: the actions so far.
        forced: positions of the decisions at which only Drop is allowed.

    Returns:
        The game and the actions taken in it; both end early at a position without legal action.
    """
    game = _Game(task)
    redone: list[int] = []
    for action in taken:
        legal = game.options(forced)
        instead = next((a for a in (action, DROP, NO_COPY, COPY) if a in legal), None)
        if instead is None:
            break
        game.take(instead, legal[instead])
        redone.append(instead)
    return game, redone


def _infeasible(why: str) -> Verdict:
    return Verdict(math.nan, False, (why,))


@dataclass(slots=True)
class _Use:
    """One decision: a buffer used by an instruction.

    Attributes:
        instr: the instruction.
        buffer: the tensor that owns the storage.
        slow, fast: time in ps that the use takes of the slow or of the fast memory.
        through: time in ps that writing through takes of the slow memory.
        writes: whether the instruction writes the buffer.
        first: whether the buffer has no contents before.
        hold: last instruction for which a write in fast memory is held.
    """

    instr: int
    buffer: int
    slow: int
    fast: int
    through: int
    writes: bool
    first: bool
    hold: int = 0


@dataclass(slots=True)
class _Range:
    """An address range of fast memory (offset and size in bytes) over instructions start..end."""

    buffer: int
    offset: int
    size: int
    start: int
    end: int


@dataclass(slots=True)
class _Transfer:
    """A copy between the memories: the time in ps that it needs, and its parts by instruction."""

    buffer: int
    needs: int
    parts: dict[int, int] = field(default_factory=dict)


def _picoseconds(amount: int, bandwidth: float) -> int:
    return math.ceil(Fraction(amount) * PICO / Fraction(float(bandwidth)))


@dataclass(slots=True)
class _Task:
    """The program as the validator sees it; a buffer is the tensor that owns the storage.

    Attributes:
        program: the instance.
        compute: computing time of each instruction, ps.
        slow: slow memory's time of each instruction with everything in slow memory, ps.
        uses: the decisions in program order.
        size: bytes of each buffer, rounded up to the alignment.
        copy: time of a copy of each buffer between the memories, ps.
        starts, ends: buffers that slow memory has before, or must have after, the program.
        room: bytes of fast memory, rounded down to the alignment.
    """

    program: Program
    compute: list[int]
    slow: list[int]
    uses: list[_Use]
    size: dict[int, int]
    copy: dict[int, int]
    starts: set[int]
    ends: set[int]
    room: int

    @classmethod
    def read(cls, program: Program) -> _Task:
        """Follow aliases, add up each instruction's operands by buffer, and time them."""
        align = program.alignment
        room = program.capacity - program.capacity % align
        owner = []
        for tensor in range(program.n_tensors):
            while program.tensor_alias[tensor] >= 0:
                tensor = int(program.tensor_alias[tensor])
            owner.append(tensor)
        kinds = [int(kind) for kind in program.tensor_kind]
        starts = {owner[t] for t, kind in enumerate(kinds) if kind in (ARG, CONST)}
        ends = {owner[t] for t, kind in enumerate(kinds) if kind == OUT}
        pinned = {owner[t] for t, pin in enumerate(program.tensor_pin.tolist()) if pin == SLOW}
        compute, slow, uses = [], [], []
        exists = set(starts)
        for i in range(program.n_instrs):
            repeat = int(program.instr_repeat[i])
            seconds = Fraction(float(program.instr_compute_s[i]))
            compute.append(round(seconds * PICO * repeat))
            slow.append(0)
            amounts: dict[int, list[int]] = {}
            writers = set()
            for op in range(int(program.op_start[i]), int(program.op_start[i + 1])):
                buffer, write = owner[int(program.op_tensor[op])], bool(program.op_write[op])
                amounts.setdefault(buffer, [0, 0])[write] += repeat * int(program.op_bytes[op])
                if write:
                    writers.add(buffer)
            for buffer, (read, written) in amounts.items():
                use = _Use(
                    i,
                    buffer,
                    _picoseconds(read + written, program.slow_bw),
                    _picoseconds(read, program.fast_read_bw)
                    + _picoseconds(written, program.fast_write_bw),
                    _picoseconds(written, program.slow_bw),
                    buffer in writers,
                    buffer not in exists,
                )
                slow[i] += use.slow
                whole = int(program.tensor_size[buffer])
                if SMALLEST_BYTES <= whole <= room and buffer not in pinned:
                    uses.append(use)
            exists |= writers
        later: dict[int, int] = {}
        for use in reversed(uses):
            use.hold = later.get(use.buffer, use.instr)
            later[use.buffer] = use.instr
            if use.buffer in ends and program.dead_end != "reserve":
                use.hold = program.n_instrs - 1
        sizes = {b: int(program.tensor_size[b]) for b in {use.buffer for use in uses}}
        rate = program.copy_scale * program.slow_bw
        return cls(
            program,
            compute,
            slow,
            uses,
            {b: math.ceil(Fraction(n, align)) * align for b, n in sizes.items()},
            {b: _picoseconds(n, rate) for b, n in sizes.items()},
            starts,
            ends,
            room,
        )


@dataclass(slots=True)
class _Option:
    """The effects of a legal action."""

    range: _Range | None = None
    grow_to: int = -1
    transfer: _Transfer | None = None
    eviction: _Transfer | None = None


class _Game:
    """The game, one decision at a time."""

    def __init__(self, task: _Task) -> None:
        self.task = task
        self.position = 0
        self.slow = list(task.slow)
        self.fast = [0] * len(task.slow)
        self.taken_by_copies = [0] * len(task.slow)
        self.ranges: list[_Range] = []
        self.held: dict[int, _Range] = {}  # the range with a buffer's present contents
        self.touched: dict[int, int] = {}  # last instruction that used it there
        self.in_slow: dict[int, int] = dict.fromkeys(task.starts, 0)  # since which instruction
        self.stored: dict[int, int] = {}  # decision whose write only fast memory has
        self.copies: list[tuple[_Transfer, int]] = []  # and the instruction it is for
        self.evictions: list[tuple[_Transfer, int]] = []  # and the instruction that wrote
        self.accesses: list[tuple[_Use, _Range]] = []

    def time(self, i: int) -> int:
        """Return the time of instruction i as decided so far, ps."""
        return max(self.task.compute[i], self.slow[i] + self.fast[i])

    def _spare(self, i: int) -> int:
        return self.time(i) - self.slow[i] - self.taken_by_copies[i]

    def _gather(self, buffer: int, instrs: range) -> _Transfer | None:
        """Collect idle time of the instructions, in this order, until it suffices for a copy."""
        transfer = _Transfer(buffer, self.task.copy[buffer])
        missing = transfer.needs
        for i in instrs:
            part = min(missing, self._spare(i))
            transfer.parts[i] = part
            missing -= part
            if missing == 0:
                return transfer
        return None

    def _in_the_way(self, low: int, high: int, start: int, end: int, but: _Range) -> bool:
        """Return whether a range other than `but` overlaps addresses low..high-1 over
        instructions start..end.
        """
        return any(
            other is not but
            and other.offset < high
            and low < other.offset + other.size
            and other.start <= end
            and start <= other.end
            for other in self.ranges
        )

    def _fit(self, buffer: int, start: int, end: int) -> _Range | None:
        """Find the smallest gap free over instructions start..end for the buffer, the lowest of
        equals.
        """
        busy = sorted(
            (r.offset, r.offset + r.size) for r in self.ranges if r.start <= end and start <= r.end
        )
        gaps, low = [], 0
        for offset, top in [*busy, (self.task.room, self.task.room)]:
            if offset - low >= self.task.size[buffer]:
                gaps.append((offset - low, low))
            low = max(low, top)
        if not gaps:
            return None
        return _Range(buffer, min(gaps)[1], self.task.size[buffer], start, end)

    def options(self, forced: set[int]) -> dict[int, _Option]:
        """Return the legal actions of the next decision; at a forced position only Drop."""
        use = self.task.uses[self.position]
        i, buffer = use.instr, use.buffer
        end = use.hold if use.writes else i
        legal: dict[int, _Option] = {}
        if use.first:
            legal[DROP] = _Option()
            place = self._fit(buffer, i, end)
            if place is not None:
                legal[NO_COPY] = _Option(place)
            return {DROP: legal[DROP]} if self.position in forced else legal
        eviction = None
        since = self.in_slow.get(buffer)
        if since is None:
            eviction = self._eviction(buffer, i)
            if eviction is not None:
                since = max(eviction.parts) + 1
        if since is not None:
            legal[DROP] = _Option(eviction=eviction)
        if self.position in forced:
            return legal
        held = self.held.get(buffer)
        if held is not None and not (
            end > held.end
            and self._in_the_way(held.offset, held.offset + held.size, held.end + 1, end, held)
        ):
            legal[NO_COPY] = _Option(held, end)
        elif since is not None:
            transfer = self._gather(buffer, range(i - 1, since - 1, -1))
            if transfer is not None:
                place = self._fit(buffer, min(transfer.parts), end)
                if place is not None:
                    legal[COPY] = _Option(place, -1, transfer, eviction)
        return legal

    def _eviction(self, buffer: int, before: int) -> _Transfer | None:
        """Plan a write-back that ends before an instruction and while the contents are intact."""
        wrote = self.task.uses[self.stored[buffer]].instr
        transfer = self._gather(buffer, range(wrote + 1, before))
        held = self.held[buffer]
        if transfer is None:
            return None
        ends = max(transfer.parts)
        low, high = held.offset, held.offset + held.size
        if ends > held.end and self._in_the_way(low, high, held.end + 1, ends, held):
            return None
        return transfer

    def take(self, action: int, option: _Option) -> None:
        """Take an action of the next decision, with its effects."""
        use = self.task.uses[self.position]
        i, buffer = use.instr, use.buffer
        if option.eviction is not None:
            self._write_back(buffer, option.eviction)
        if option.transfer is not None:
            self._pay(option.transfer)
            self.copies.append((option.transfer, i))
        if action == DROP:
            if use.writes:
                self.in_slow[buffer] = i + 1
                self.held.pop(buffer, None)
        else:
            assert option.range is not None
            place = option.range
            if not any(place is other for other in self.ranges):
                self.ranges.append(place)
            place.end = max(place.end, option.grow_to)
            self.held[buffer], self.touched[buffer] = place, i
            self.accesses.append((use, place))
            self.slow[i] -= use.slow
            self.fast[i] += use.fast
            if use.writes and self.task.program.dead_end == "reserve":
                self.slow[i] += use.through
                self.in_slow[buffer] = i + 1
            elif use.writes:
                self.in_slow.pop(buffer, None)
                self.stored[buffer] = self.position
        self.position += 1

    def _pay(self, transfer: _Transfer) -> None:
        for i, part in transfer.parts.items():
            self.taken_by_copies[i] += part

    def _write_back(self, buffer: int, eviction: _Transfer) -> None:
        self._pay(eviction)
        held, ends = self.held[buffer], max(eviction.parts)
        needed = max(ends, self.touched[buffer])
        held.end = needed if buffer in self.task.ends else max(held.end, needed)
        self.in_slow[buffer] = ends + 1
        self.evictions.append((eviction, self.task.uses[self.stored.pop(buffer)].instr))

    def write_back_outputs(self) -> int:
        """Write back the outputs that only fast memory has; return the stall at the end, ps."""
        stall = 0
        last = len(self.task.slow) - 1
        for buffer, at in sorted(self.stored.items(), key=lambda item: item[1]):
            if buffer not in self.task.ends:
                continue
            wrote = self.task.uses[at].instr
            eviction = _Transfer(buffer, self.task.copy[buffer])
            missing = eviction.needs
            for i in range(wrote + 1, last + 1):
                eviction.parts[i] = min(missing, self._spare(i))
                missing -= eviction.parts[i]
            stall += missing
            eviction.needs -= missing
            self._pay(eviction)
            eviction.parts.setdefault(last, 0)
            self.evictions.append((eviction, wrote))
        return stall

    def audit(self) -> list[str]:
        """Check the finished plan as a whole; return one sentence per fault."""
        found = []
        names = self.task.program.tensor_names
        for at, one in enumerate(self.ranges):
            if one.offset < 0 or one.offset + one.size > self.task.room:
                found.append(f"{names[one.buffer]}: its range ends beyond fast memory")
            if one.offset % self.task.program.alignment:
                found.append(f"{names[one.buffer]}: its offset {one.offset} is not aligned")
            for other in self.ranges[:at]:
                same_addresses = one.offset < other.offset + other.size and (
                    other.offset < one.offset + one.size
                )
                if same_addresses and one.start <= other.end and other.start <= one.end:
                    found.append(f"{names[one.buffer]} and {names[other.buffer]} overlap")
        for use, place in self.accesses:
            if not place.start <= use.instr <= place.end:
                found.append(f"{names[use.buffer]} is not in fast memory at {use.instr}")
        moved = [0] * len(self.slow)
        for transfer, limit in [*self.copies, *((e, -1) for e, _ in self.evictions)]:
            if sum(transfer.parts.values()) != transfer.needs:
                found.append(f"{names[transfer.buffer]}: a copy is not finished")
            if limit >= 0 and transfer.parts and max(transfer.parts) >= limit:
                found.append(f"{names[transfer.buffer]}: a copy ends after its use {limit}")
            for i, part in transfer.parts.items():
                moved[i] += part
        for i, part in enumerate(moved):
            if part + self.slow[i] > self.time(i):
                found.append(f"instruction {i}: slow memory moves more than it can")
        for eviction, wrote in self.evictions:
            covers = [
                r
                for r in self.ranges
                if r.buffer == eviction.buffer and r.start <= wrote and max(eviction.parts) <= r.end
            ]
            if not covers:
                found.append(f"{names[eviction.buffer]} is overwritten before it is written back")
        return found


def _explain(
    program: Program, task: _Task, game: _Game, at: int, action: int, legal: dict[int, _Option]
) -> str:
    use = task.uses[game.position]
    what = NAMES[action] if action in (COPY, NO_COPY, DROP) else f"{action}, which is no action,"
    return (
        f"action {at}: {what} is not legal for {program.tensor_names[use.buffer]!r} at instruction "
        f"{use.instr} ({program.instr_names[use.instr]}); legal there: "
        + ", ".join(NAMES[one] for one in sorted(legal))
    )
