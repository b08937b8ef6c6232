"""The validator's own game: what is legal at each decision, and what each one does.

It shares no code with the dynamics: plain Python over lists and whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .reference import Custom, Range, Record, Task, Transfer, Trips, Use, audit_space
from .reference_lookups import Amounts, Timeline

COPY, NO_COPY, DROP = 0, 1, 2


@dataclass(slots=True)
class Option:
    """The effects of a legal action.

    Attributes:
        range: the address range that is used; a new one is placed.
        grow_to: instruction to which an old one is held, at least.
        needed: instruction to which the contents are needed there, for this use.
        transfer: the copy into it.
        eviction: the write-back before.
    """

    range: Range | None = None
    grow_to: int = -1
    needed: int = -1
    transfer: Transfer | None = None
    eviction: Transfer | None = None


@dataclass(slots=True)
class Before:
    """What a decision changes, as it was before.

    Attributes:
        of_buffer: its buffer's entries in `Game.tables`; None for none.
        held: the range with the buffer's contents, and that range's `since` and `end`.
        times: of its instruction, in slow and in fast memory, ps.
        counts: lengths of the lists of the record.
        paid: the transfers that it pays for.
    """

    of_buffer: list[Any]
    held: tuple[Range, int, int] | None
    times: tuple[int, int]
    counts: list[int]
    paid: list[Transfer]


class Game:
    """The game as played so far.

    Attributes:
        task: the program.
        position: the next decision.
        slow, fast: time in ps that each instruction's own operands take of either memory.
        taken_by_copies: time in ps that copies take of slow memory in each instruction.
        idle: time in ps that slow memory has left for copies in each instruction.
        record: what was done.
        placed: the ranges of the record, by instruction.
        held: the range with a buffer's present contents.
        touched: last instruction that needs the contents there.
        in_slow: instruction since which slow memory has a buffer.
        stored: decision whose write only fast memory has.
        tables: the last four, which are by buffer.
        befores: what each decision so far has changed.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.position = 0
        self.slow, self.fast = list(task.slow), [0] * len(task.slow)
        self.taken_by_copies = [0] * len(task.slow)
        self.idle = Amounts([self._spare(i) for i in range(len(task.slow))])
        self.record, self.placed = Record(), Timeline[Range]()
        self.held: dict[int, Range] = {}
        self.touched: dict[int, int] = {}
        self.in_slow: dict[int, int] = dict.fromkeys(task.starts, 0)
        self.stored: dict[int, int] = {}
        self.tables: tuple[dict[int, Any], ...] = (
            self.held, self.touched, self.in_slow, self.stored,
        )  # fmt: skip
        self.befores: list[Before] = []

    def time(self, i: int) -> int:
        """Return the time of instruction i as decided so far, ps."""
        return max(self.task.compute[i], self.slow[i] + self.fast[i])

    def _spare(self, i: int) -> int:
        return self.time(i) - self.slow[i] - self.taken_by_copies[i]

    def _gather(self, buffer: int, inside: list[int], instrs: range) -> Transfer | None:
        """Collect idle time of the instructions, in this order, until it suffices for a copy in
        every trip of the loops `inside`, the outermost first.
        """
        needs = self.task.copy[buffer] * self.task.runs(inside)
        transfer = Transfer(buffer, needs, len(inside))
        missing = needs
        if self.idle.total(instrs) < needs:
            return None
        for i in self.idle.nonzero(instrs):
            part = min(missing, self._spare(i))
            transfer.parts[i] = part
            missing -= part
            if missing == 0:
                transfer.opens = self.task.first_around(min(transfer.parts), inside)
                transfer.closes = self.task.last_around(max(transfer.parts), inside)
                return transfer
        return None

    def _in_the_way(self, low: int, high: int, start: int, end: int, but: Range) -> bool:
        """Return whether a range other than `but` overlaps addresses low..high-1 over
        instructions start..end.
        """
        return any(
            other is not but and other.offset < high and low < other.offset + other.size
            for other in self.placed.during(start, end)
        )

    def _fit(self, buffer: int, start: int, end: int, since: int) -> Range | None:
        """Find the smallest gap free over instructions start..end for the buffer, the lowest of
        equals.
        """
        size = self.task.size[buffer]
        busy = sorted((r.offset, r.offset + r.size) for r in self.placed.during(start, end))
        gaps, low = [], 0
        for offset, top in [*busy, (self.task.room, self.task.room)]:
            if offset - low >= size:
                gaps.append((offset - low, low))
            low = max(low, top)
        return Range(buffer, min(gaps)[1], size, start, end, since) if gaps else None

    def _entered(self, use: Use, since: int) -> tuple[int, Custom] | None:
        """Return the outermost loop around a use that begins after an instruction, and what it does
        to the buffer; None if there is none.
        """
        for row in self.task.nest[use.instr]:
            if self.task.bodies[row].first > since:
                return row, self.task.customs[row, use.buffer]
        return None

    def options(self, forced: set[int]) -> dict[int, Option]:
        """Return the legal actions of the next decision; at a forced position only Drop."""
        use = self.task.uses[self.position]
        i, buffer = use.instr, use.buffer
        end = use.hold if use.writes else i
        legal: dict[int, Option] = {}
        if use.first:
            legal[DROP] = Option()
            start, since, needed, entered = i, i, i, self._entered(use, -1)
            if entered is not None and entered[1].carried:  # all trips around it add to it
                start, end = self.task.bodies[entered[0]].first, max(end, entered[1].until)
                since, needed = start - 1, self.task.bodies[entered[0]].last
            place = self._fit(buffer, start, end, since)
            if place is not None and self.position not in forced:
                legal[NO_COPY] = Option(place, end, needed)
            return legal
        held, stay = self.held.get(buffer), None
        if held is not None:
            entered = self._entered(use, held.since)
            stay_end, needed = end, i
            if entered is not None and entered[1].carried:
                row, custom = entered
                stay_end, needed = max(end, custom.until), self.task.bodies[row].last
                if custom.changed and custom.entry != self.position:
                    return {NO_COPY: Option(held, stay_end, needed)}  # settled by the entry
            low, high = held.offset, held.offset + held.size
            if stay_end <= held.end or not self._in_the_way(
                low, high, held.end + 1, stay_end, held
            ):
                stay = Option(held, stay_end, needed)
        eviction = None
        since_when = self.in_slow.get(buffer)
        if since_when is None:
            eviction = self._eviction(buffer, i)
            if eviction is not None:
                since_when = eviction.closes + 1
        if since_when is not None:
            legal[DROP] = Option(eviction=eviction)
        if self.position in forced:
            return legal
        if stay is not None:
            legal[NO_COPY] = stay
        elif since_when is not None:
            copy = self._copy(use, end, since_when)
            if copy is not None:
                copy.eviction = eviction
                legal[COPY] = copy
        return legal

    def _copy(self, use: Use, end: int, since: int) -> Option | None:
        """Plan a copy from slow memory, which has the buffer since an instruction: before the
        outermost loop whose trips all find what the first one does, else further inwards.
        """
        task, nest = self.task, self.task.nest[use.instr]
        if since > 0:  # in all trips of a loop that ends before the use
            made = since - 1
            since = task.last_around(made, task.common(made, use.instr)) + 1
        for depth in range(len(nest) + 1):
            inside, before, until, needed = nest[:depth], use.instr, end, use.instr
            if depth < len(nest):
                custom, body = task.customs[nest[depth], use.buffer], task.bodies[nest[depth]]
                same = custom.entry == self.position or not custom.changed
                if not (same and custom.carried):
                    continue
                before, until, needed = body.first, max(end, custom.until), body.last
            lowest = max(since, task.bodies[inside[-1]].first if inside else 0)
            transfer = self._gather(use.buffer, inside, range(before - 1, lowest - 1, -1))
            if transfer is None:
                continue
            transfer.closes = before
            place = self._fit(use.buffer, transfer.opens, until, transfer.opens)
            if place is not None:
                return Option(place, until, needed, transfer)
        return None

    def _eviction(self, buffer: int, use: int) -> Transfer | None:
        """Plan a write-back that ends before a use and while the contents are intact."""
        task, held = self.task, self.held[buffer]
        wrote = task.uses[self.stored[buffer]].instr
        inside = task.common(wrote, use)
        first, before = task.last_around(wrote, inside) + 1, task.first_around(use, inside)
        transfer = self._gather(buffer, inside, range(first, before))
        if transfer is None:
            return None
        low, high = held.offset, held.offset + held.size
        if transfer.closes > held.end and self._in_the_way(
            low, high, held.end + 1, transfer.closes, held
        ):
            return None
        return transfer

    def take(self, action: int, option: Option) -> None:
        """Take an action of the next decision, with its effects."""
        use = self.task.uses[self.position]
        i, buffer = use.instr, use.buffer
        held = self.held.get(buffer)
        self.befores.append(
            Before(
                [table.get(buffer) for table in self.tables],
                None if held is None else (held, held.since, held.end),
                (self.slow[i], self.fast[i]),
                [len(rows) for rows in self.record.lists()],
                [one for one in (option.eviction, option.transfer) if one is not None],
            )
        )
        if option.eviction is not None:
            self._write_back(buffer, option.eviction)
        if option.transfer is not None:
            assert option.range is not None
            self._pay(option.transfer)
            self.record.copies.append((option.transfer, option.range, use))
        if action == DROP:
            self.record.accesses.append((use, None, False))
            if use.writes:
                self.in_slow[buffer] = i + 1
                self.held.pop(buffer, None)
            elif buffer in self.held:
                entered = self._entered(use, self.held[buffer].since)
                if entered is not None and entered[1].carried and entered[1].changed:
                    self.held.pop(buffer)  # later trips would find it changed
        else:
            assert option.range is not None
            self._use_fast(use, option.range, option)
        self.position += 1

    def take_back(self) -> None:
        """Take back the last decision."""
        before = self.befores.pop()
        self.position -= 1
        use = self.task.uses[self.position]
        for table, entry in zip(self.tables, before.of_buffer, strict=True):
            table.pop(use.buffer, None)
            if entry is not None:
                table[use.buffer] = entry
        for transfer in before.paid:
            self._pay(transfer, -1)
        self.slow[use.instr], self.fast[use.instr] = before.times
        self.idle.set(use.instr, self._spare(use.instr))
        for rows, count in zip(self.record.lists(), before.counts, strict=True):
            if rows is self.record.ranges and len(rows) > count:
                self.placed.remove(rows[count])
            del rows[count:]
        if before.held is not None:
            held, since, end = before.held
            held.since = since
            self.placed.set_end(held, end)

    def _use_fast(self, use: Use, place: Range, option: Option) -> None:
        i, buffer = use.instr, use.buffer
        if self.held.get(buffer) is place:
            self.touched[buffer] = max(self.touched[buffer], option.needed)
            entered = self._entered(use, place.since)
            if entered is not None and not entered[1].carried:
                place.since = i  # every trip makes it anew here
        else:
            self.record.ranges.append(place)
            self.placed.add(place)
            self.touched[buffer] = option.needed
        self.placed.set_end(place, max(place.end, option.grow_to))
        self.held[buffer] = place
        self.slow[i] -= use.slow
        self.fast[i] += use.fast
        through = use.writes and (
            self.task.program.dead_end == "reserve" or self._starts_slow(use, place.since)
        )
        self.record.accesses.append((use, place, through))
        if through:
            self.slow[i] += use.through
            self.in_slow[buffer] = i + 1
        elif use.writes:
            self.in_slow.pop(buffer, None)
            self.stored[buffer] = self.position
        self.idle.set(i, self._spare(i))

    def _starts_slow(self, use: Use, since: int) -> bool:
        """Return whether trips of a loop around a use find the buffer in slow memory: the loop
        carries it, and what is in fast memory was brought there in the trip.
        """
        return any(
            self.task.customs[row, use.buffer].carried and self.task.bodies[row].first <= since
            for row in self.task.nest[use.instr]
        )

    def culprit(self) -> int:
        """Return the decision to blame for the dead end at the next one: the write that only fast
        memory has, or the loop's entry that settled that the loop's writes are fast.
        """
        buffer = self.task.uses[self.position].buffer
        at = self.stored[buffer]
        entered = self._entered(self.task.uses[at], self.held[buffer].since)
        return at if entered is None or not entered[1].carried else entered[1].entry

    def _pay(self, transfer: Transfer, times: int = 1) -> None:
        for i, part in transfer.parts.items():
            self.taken_by_copies[i] += times * part
            self.idle.set(i, self._spare(i))

    def _write_back(self, buffer: int, eviction: Transfer) -> None:
        self._pay(eviction)
        held = self.held[buffer]
        needed = max(eviction.closes, self.touched[buffer])
        end = needed if buffer in self.task.ends else max(held.end, needed)
        self.placed.set_end(held, end)
        self.in_slow[buffer] = eviction.closes + 1
        del self.stored[buffer]
        self.record.write_backs.append((eviction, held))

    def write_back_outputs(self) -> int:
        """Write back the outputs that only fast memory has; return the stall at the end, ps."""
        stall = 0
        last = len(self.task.slow) - 1
        for buffer, at in sorted(self.stored.items(), key=lambda item: item[1]):
            if buffer not in self.task.ends:
                continue
            wrote = self.task.uses[at].instr
            eviction = Transfer(buffer, self.task.copy[buffer], 0, closes=last)
            missing = eviction.needs
            after = range(self.task.last_around(wrote, []) + 1, last + 1)
            for i in self.idle.nonzero(after):
                eviction.parts[i] = min(missing, self._spare(i))
                missing -= eviction.parts[i]
                if missing == 0:
                    break
            stall += missing
            eviction.needs -= missing
            self._pay(eviction)
            self.record.write_backs.append((eviction, self.held[buffer]))
        return stall

    def audit(self) -> list[str]:
        """Check the finished plan as a whole; return one sentence per fault."""
        found = audit_space(self.task, self.record)
        names = self.task.program.tensor_names
        moved = [0] * len(self.slow)
        transfers = [*self.record.write_backs, *(copy[:2] for copy in self.record.copies)]
        for transfer, _ in transfers:
            if sum(transfer.parts.values()) != transfer.needs:
                found.append(f"{names[transfer.buffer]}: a copy is not finished")
            for i, part in transfer.parts.items():
                moved[i] += part
        for i, part in enumerate(moved):
            if part + self.slow[i] > self.time(i):
                found.append(f"instruction {i}: slow memory moves more than it can")
        return found + Trips(self.task, self.record).follow()
