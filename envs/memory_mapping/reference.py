"""The validator's own view of a program, and its audit of a finished plan, trip by trip.

Plain Python over lists and whole numbers; it shares no code with the dynamics. Of the instance's
module it uses the codes of fields alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ...datasets.memory_mapping.instance import ARG, AWAY, CONST, FREE, OUT, Program

SMALLEST_BYTES = 4096  # smaller buffers stay in slow memory, without a decision
PICO = 10**12  # picoseconds in a second
MOST_STEPS = 200_000  # executions of instructions that an audit follows


@dataclass(slots=True)
class Use:
    """One decision: a buffer used by an instruction. Times are of all executions.

    Attributes:
        instr: the instruction.
        buffer: the tensor that owns the storage.
        slow, fast: time in ps that the use takes of the slow or of the fast memory.
        through: time in ps that writing through takes of the slow memory.
        writes: whether the instruction writes the buffer.
        replaces: whether it writes all of it and reads nothing of it.
        first: whether the buffer has no contents before.
        hold: last instruction for which a write in fast memory is held.
    """

    instr: int
    buffer: int
    slow: int
    fast: int
    through: int
    writes: bool
    replaces: bool
    first: bool
    hold: int = 0


@dataclass(slots=True, eq=False)
class Range:
    """An address range of fast memory (offset and size in bytes) over instructions start..end.

    Attributes:
        since: the instruction that the contents are there since.
    """

    buffer: int
    offset: int
    size: int
    start: int
    end: int
    since: int


@dataclass(slots=True)
class Transfer:
    """A copy between the memories, made once a trip of the loops around it.

    Attributes:
        buffer: what is moved.
        needs: time in ps, of all executions.
        depth: number of loops around it.
        opens: instruction that it begins with, in the first trip of loops passed over.
        closes: instruction that it is done by, in the last trip of loops passed over.
        parts: time in ps that it takes of each instruction.
    """

    buffer: int
    needs: int
    depth: int
    opens: int = -1
    closes: int = -1
    parts: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Body:
    """A loop: instructions first..last, executed `trips` times each time it is reached."""

    first: int
    last: int
    trips: int


@dataclass(slots=True)
class Custom:
    """What a loop does to a buffer in each trip.

    Attributes:
        entry: position of the body's first decision on the buffer.
        carried: whether the entry needs what was there before the trip.
        changed: whether the body writes the buffer.
        until: instruction to which the buffer is held if it stays in fast memory.
    """

    entry: int
    carried: bool
    changed: bool
    until: int


def picoseconds(amount: int, bandwidth: float) -> int:
    """Return whole picoseconds, rounded up, of so many bytes at so many bytes/s."""
    rate, units = float(bandwidth).as_integer_ratio()
    return -(-amount * PICO * units // rate)


@dataclass(slots=True)
class Task:
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
        bodies: the loops.
        nest: loops around each instruction, the outermost first.
        customs: what a loop does to a buffer, by loop and buffer.
    """

    program: Program
    compute: list[int]
    slow: list[int]
    uses: list[Use]
    size: dict[int, int]
    copy: dict[int, int]
    starts: set[int]
    ends: set[int]
    room: int
    bodies: list[Body]
    nest: list[list[int]]
    customs: dict[tuple[int, int], Custom] = field(default_factory=dict)

    @classmethod
    def read(cls, program: Program) -> Task:
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
        pins = program.tensor_pin.tolist()
        pinned = {owner[t] for t, pin in enumerate(pins) if pin != FREE}
        away = {owner[t] for t, pin in enumerate(pins) if pin == AWAY}
        bodies = [
            Body(int(first), int(last), int(trips))
            for first, last, trips in zip(
                program.loop_first, program.loop_last, program.loop_trips, strict=True
            )
        ]
        nest: list[list[int]] = [[] for _ in range(program.n_instrs)]
        for row, body in enumerate(bodies):
            for i in range(body.first, body.last + 1):
                nest[i].append(row)
        compute, slow, uses = [], [], []
        exists = set(starts)
        for i in range(program.n_instrs):
            repeat = math.prod(bodies[row].trips for row in nest[i])
            seconds = Fraction(float(program.instr_compute_s[i]))
            compute.append(round(seconds * PICO * repeat))
            slow.append(0)
            amounts: dict[int, list[int]] = {}
            readers: set[int] = set()
            writers: set[int] = set()
            replaced: set[int] = set()
            for op in range(int(program.op_start[i]), int(program.op_start[i + 1])):
                buffer, write = owner[int(program.op_tensor[op])], bool(program.op_write[op])
                moved = int(program.op_bytes[op])
                amounts.setdefault(buffer, [0, 0])[write] += repeat * moved * (buffer not in away)
                (writers if write else readers).add(buffer)
                if write and moved >= program.tensor_size[buffer]:
                    replaced.add(buffer)
            for buffer, (read, written) in amounts.items():
                use = Use(
                    i,
                    buffer,
                    picoseconds(read + written, program.slow_bw),
                    picoseconds(read, program.fast_read_bw)
                    + picoseconds(written, program.fast_write_bw),
                    picoseconds(written, program.slow_bw),
                    buffer in writers,
                    buffer in replaced - readers,
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
        task = cls(
            program,
            compute,
            slow,
            uses,
            {b: math.ceil(Fraction(n, align)) * align for b, n in sizes.items()},
            {b: picoseconds(n, rate) for b, n in sizes.items()},
            starts,
            ends,
            room,
            bodies,
            nest,
        )
        task._find_customs()
        return task

    def _find_customs(self) -> None:
        for position, use in enumerate(self.uses):
            for row in self.nest[use.instr]:
                new = Custom(position, not use.replaces, False, self.bodies[row].last)
                custom = self.customs.setdefault((row, use.buffer), new)
                if use.writes:
                    custom.changed = True
                    custom.until = max(custom.until, use.hold)

    def common(self, one: int, other: int) -> list[int]:
        """Return the loops around both of two instructions, the outermost first."""
        return [row for row in self.nest[one] if row in self.nest[other]]

    def runs(self, rows: list[int]) -> int:
        """Return how often the innermost of nested loops is executed: the product of the trips."""
        return math.prod(self.bodies[row].trips for row in rows)

    def first_around(self, instr: int, inside: list[int]) -> int:
        """Return the first instruction of the outermost loop around one, but for those around both
        it and what it is seen from; the instruction itself if there is none.
        """
        return min([instr, *(self.bodies[r].first for r in self.nest[instr] if r not in inside)])

    def last_around(self, instr: int, inside: list[int]) -> int:
        """Return the last instruction of that loop; see `first_around`."""
        return max([instr, *(self.bodies[r].last for r in self.nest[instr] if r not in inside)])

    def steps(self) -> Iterator[tuple[int, list[bool], list[bool]]]:
        """Execute the program with at most two trips of each loop: the first, and one like all
        others; of outer loops one trip, where two of all would be too many executions.

        Yields:
            The instruction; and of each loop around it, the outermost first, whether the trip is
            its first and whether it is its last.
        """
        trips = [2] * len(self.bodies)
        for row in range(len(trips)):
            steps = sum(math.prod(trips[r] for r in around) for around in self.nest)
            if steps <= MOST_STEPS:
                break
            trips[row] = 1
        counts = [0] * len(trips)
        at = 0
        while at < len(self.nest):
            around = self.nest[at]
            firsts = [counts[row] == 0 for row in around]
            yield at, firsts, [counts[row] == trips[row] - 1 for row in around]
            for row in reversed(around):
                if at < self.bodies[row].last:
                    at += 1
                    break
                counts[row] += 1
                if counts[row] < trips[row]:
                    at = self.bodies[row].first
                    break
                counts[row] = 0
            else:
                at += 1


@dataclass(slots=True)
class Record:
    """What a plan does, in the order of its decisions.

    Attributes:
        ranges: the address ranges.
        accesses: each use, with its range (None for slow memory) and whether it writes through.
        copies: copies into fast memory, with their ranges.
        write_backs: copies into slow memory, with their ranges.
    """

    ranges: list[Range] = field(default_factory=list)
    accesses: list[tuple[Use, Range | None, bool]] = field(default_factory=list)
    copies: list[tuple[Transfer, Range, Use]] = field(default_factory=list)
    write_backs: list[tuple[Transfer, Range]] = field(default_factory=list)

    def lists(self) -> tuple[list[Any], ...]:
        """Return all of its lists."""
        return self.ranges, self.accesses, self.copies, self.write_backs


def audit_space(task: Task, record: Record) -> list[str]:
    """Check that ranges lie in fast memory, aligned and apart; return one sentence per fault."""
    found = []
    names = task.program.tensor_names
    for one in record.ranges:
        if one.offset < 0 or one.offset + one.size > task.room:
            found.append(f"{names[one.buffer]}: its range ends beyond fast memory")
        if one.offset % task.program.alignment:
            found.append(f"{names[one.buffer]}: its offset {one.offset} is not aligned")
    order = {place: at for at, place in enumerate(record.ranges)}
    pairs: dict[tuple[Range, ...], None] = {}
    for together in at_once(task, record):
        highest: Range | None = None
        for one in sorted(together, key=lambda place: place.offset):
            if highest is not None and _meet(one, highest):
                pairs[tuple(sorted((one, highest), key=order.__getitem__))] = None
            if highest is None or one.offset + one.size > highest.offset + highest.size:
                highest = one
    found += [f"{names[b.buffer]} and {names[a.buffer]} overlap" for a, b in pairs]
    for use, place, _ in record.accesses:
        if place is not None and not place.start <= use.instr <= place.end:
            found.append(f"{names[use.buffer]} is not in fast memory at {use.instr}")
    return found


def _meet(one: Range, other: Range) -> bool:
    """Whether two ranges share addresses."""
    return one.offset < other.offset + other.size and other.offset < one.offset + one.size


def at_once(task: Task, record: Record) -> list[list[Range]]:
    """Return the ranges that are in fast memory during each instruction."""
    count = len(task.nest)
    found: list[list[Range]] = [[] for _ in range(count)]
    for place in record.ranges:
        for i in range(max(0, place.start), min(count, place.end + 1)):
            found[i].append(place)
    return found


class Trips:
    """Follows a plan trip by trip: which memory has the present contents of each buffer.

    Attributes:
        found: one sentence per fault.
    """

    def __init__(self, task: Task, record: Record) -> None:
        self.task = task
        self.found: list[str] = []
        self.version = dict.fromkeys(task.size, 0)  # counted by writes
        self.slow = {b: 0 if b in task.starts else -1 for b in task.size}  # version there
        self.fast: dict[Range, int] = {}  # version in each range; of one being filled, -1
        count = len(task.nest)
        self.active = at_once(task, record)
        self.uses: list[list[tuple[Use, Range | None, bool]]] = [[] for _ in range(count)]
        for access in record.accesses:
            self.uses[access[0].instr].append(access)
        self.opening: list[list[tuple[Transfer, Range, bool]]] = [[] for _ in range(count)]
        self.closing: list[list[tuple[Transfer, Range, bool]]] = [[] for _ in range(count)]
        self.saving: list[list[tuple[Transfer, Range]]] = [[] for _ in range(count)]
        for copy, place, use in record.copies:
            needed = not use.replaces  # what is overwritten whole need not be present
            self.opening[copy.opens].append((copy, place, needed))
            self.closing[copy.closes].append((copy, place, needed))
        for back, place in record.write_backs:
            self.saving[back.closes].append((back, place))

    def follow(self) -> list[str]:
        """Execute the program; return the faults."""
        before: set[Range] = set()
        for i, first, last in self.task.steps():
            for copy, place, needed in self.closing[i]:
                if all(first[copy.depth :]):
                    if needed and self.slow[copy.buffer] != self.version[copy.buffer]:
                        self._fault(copy.buffer, i, "is copied from old data")
                    if self.fast.get(place) != -1:
                        self._fault(copy.buffer, i, "is overwritten while it is copied")
                    self.fast[place] = self.version[copy.buffer]
            for copy, place, needed in self.opening[i]:
                if all(first[copy.depth :]):
                    if needed and self.slow[copy.buffer] != self.version[copy.buffer]:
                        self._fault(copy.buffer, i, "is copied from old data")
                    self.fast[place] = -1
            for place in self.active[i]:
                if place not in before:
                    for other in [o for o in self.fast if o is not place and _meet(o, place)]:
                        del self.fast[other]
            before = set(self.active[i])
            for use, held, through in self.uses[i]:
                self._use(use, held, through)
            for back, place in self.saving[i]:
                if all(last[back.depth :]):
                    if self.fast.get(place) != self.version[back.buffer]:
                        self._fault(back.buffer, i, "is overwritten before it is written back")
                    self.slow[back.buffer] = self.version[back.buffer]
        for buffer in self.task.ends & self.slow.keys():
            if self.slow[buffer] != self.version[buffer]:
                self._fault(buffer, len(self.active) - 1, "is not written back")
        return self.found

    def _use(self, use: Use, held: Range | None, through: bool) -> None:
        version, buffer = self.version[use.buffer], use.buffer
        known = version > 0 or buffer in self.task.starts
        if known and not use.replaces:
            here = self.slow[buffer] if held is None else self.fast.get(held)
            if here != version:
                self._fault(
                    buffer, use.instr, f"is not in {'slow' if held is None else 'fast'} memory"
                )
            if through and self.slow[buffer] != version:
                self._fault(buffer, use.instr, "is written through to old data")
        if use.writes:
            self.version[buffer] = version + 1
            if held is not None:
                self.fast[held] = version + 1
            if held is None or through:
                self.slow[buffer] = version + 1

    def _fault(self, buffer: int, instr: int, what: str) -> None:
        name = self.task.program.tensor_names[buffer]
        fault = f"{name} {what} at {instr}"
        if fault not in self.found:
            self.found.append(fault)
