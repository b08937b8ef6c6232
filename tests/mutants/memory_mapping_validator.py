"""Faults of memory mapping in the validator: what it reads, how it plays, what it audits."""

from __future__ import annotations

from mutants.mutant import Mutant

JUDGE, GAME, LOOKUPS, REFERENCE = (
    f"envs/memory_mapping/{name}.py"
    for name in ("validate", "reference_game", "reference_lookups", "reference")
)

READING = (
    Mutant(
        REFERENCE,
        "room = program.capacity - program.capacity % align",
        "room = program.capacity",
        "the validator places what fits only without the alignment",
    ),
    Mutant(
        REFERENCE,
        "            while program.tensor_alias[tensor] >= 0:\n",
        "            if program.tensor_alias[tensor] >= 0:\n",
        "the validator follows a chain of aliases one step",
    ),
    Mutant(
        REFERENCE,
        "if kind in (ARG, CONST)}",
        "if kind == ARG}",
        "the validator's constants are not there at the start",
    ),
    Mutant(
        REFERENCE,
        "ends = {owner[t] for t, kind in enumerate(kinds) if kind == OUT}",
        "ends = {t for t, kind in enumerate(kinds) if kind == OUT}",
        "the validator forgets outputs that share storage",
    ),
    Mutant(
        REFERENCE,
        "pinned = {owner[t] for t, pin in enumerate(pins) if pin != FREE}",
        "pinned = {owner[t] for t, pin in enumerate(pins) if pin == AWAY}",
        "the validator places what is pinned to slow memory",
    ),
    Mutant(
        REFERENCE,
        "repeat * moved * (buffer not in away)",
        "repeat * moved",
        "the validator counts traffic of the host's memory",
    ),
    Mutant(
        REFERENCE,
        "repeat = math.prod(bodies[row].trips for row in nest[i])",
        "repeat = bodies[nest[i][-1]].trips if nest[i] else 1",
        "the validator counts the trips of the innermost loop alone",
    ),
    Mutant(
        REFERENCE,
        "if write and moved >= program.tensor_size[buffer]:",
        "if write and moved > program.tensor_size[buffer]:",
        "the validator takes no write for a whole one",
    ),
    Mutant(
        REFERENCE,
        "buffer in replaced - readers",
        "buffer in replaced",
        "the validator forgets what an update in place reads",
    ),
    Mutant(
        REFERENCE,
        "return -(-amount * PICO * units // rate)",
        "return round(Fraction(amount * PICO * units, rate))",
        "the validator rounds times to the nearest",
    ),
    Mutant(
        REFERENCE,
        "if SMALLEST_BYTES <= whole <= room and buffer not in pinned:",
        "if SMALLEST_BYTES < whole <= room and buffer not in pinned:",
        "the validator leaves out the smallest buffer that counts",
    ),
    Mutant(
        REFERENCE,
        "if SMALLEST_BYTES <= whole <= room and buffer not in pinned:",
        "if SMALLEST_BYTES <= whole < room and buffer not in pinned:",
        "the validator does not place a buffer as large as fast memory",
    ),
    Mutant(
        REFERENCE,
        "use.hold = later.get(use.buffer, use.instr)",
        "use.hold = use.instr",
        "the validator gives up a fast write at once",
    ),
    Mutant(
        REFERENCE,
        'if use.buffer in ends and program.dead_end != "reserve":',
        "if use.buffer in ends:",
        "the validator holds outputs that were written through",
    ),
    Mutant(
        REFERENCE,
        "{b: math.ceil(Fraction(n, align)) * align for b, n in sizes.items()}",
        "sizes",
        "the validator does not round sizes to the alignment",
    ),
    Mutant(
        REFERENCE,
        "rate = program.copy_scale * program.slow_bw",
        "rate = program.slow_bw",
        "the validator forgets the scale of copies",
    ),
    Mutant(
        REFERENCE,
        "+ picoseconds(written, program.fast_write_bw)",
        "+ picoseconds(written, program.fast_read_bw)",
        "the validator writes fast memory at the bandwidth of reads",
    ),
    Mutant(
        REFERENCE,
        "Custom(position, not use.replaces, False, self.bodies[row].last)",
        "Custom(position, True, False, self.bodies[row].last)",
        "the validator's loops carry what every trip makes anew",
    ),
    Mutant(
        REFERENCE,
        "                    custom.until = max(custom.until, use.hold)\n",
        "",
        "the validator holds what a loop writes to the loop's end only",
        equivalent="After the first use in the loop the write must follow, which holds the room to "
        "its own next use; what is placed in between sees the room taken either way.",
    ),
    Mutant(
        REFERENCE,
        "return math.prod(self.bodies[row].trips for row in rows)",
        "return self.bodies[rows[-1]].trips if rows else 1",
        "the validator forgets the trips of outer loops in copies",
    ),
    Mutant(
        REFERENCE,
        "min([instr, *(self.bodies[r].first for r in self.nest[instr] if r not in inside)])",
        "min([instr, *(self.bodies[r].first for r in self.nest[instr])])",
        "the validator takes a copy in a trip for one before the loop",
    ),
    Mutant(
        REFERENCE,
        "max([instr, *(self.bodies[r].last for r in self.nest[instr] if r not in inside)])",
        "instr",
        "the validator has a copy begin while the loop that writes the buffer goes on",
    ),
)

PLAYING = (
    Mutant(
        GAME,
        "return self.time(i) - self.slow[i] - self.taken_by_copies[i]",
        "return self.time(i) - self.slow[i]",
        "the validator lets idle time be booked again",
    ),
    Mutant(
        GAME,
        "return max(self.task.compute[i], self.slow[i] + self.fast[i])",
        "return max(self.task.compute[i], self.slow[i], self.fast[i])",
        "the validator has both memories work at once",
    ),
    Mutant(
        GAME,
        "            if missing == 0:\n                transfer.opens",
        "            if missing == 0 and part < self._spare(i):\n                transfer.opens",
        "the validator refuses a copy that needs just the idle time there is",
    ),
    Mutant(
        GAME,
        "range(before - 1, lowest - 1, -1)",
        "range(lowest, before)",
        "the validator copies as soon, not as late, as it can",
    ),
    Mutant(
        LOOKUPS,
        "if span.start <= end and start <= span.end:",
        "if span.start < end and start <= span.end:",
        "the validator holds a range to where another begins",
    ),
    Mutant(
        GAME,
        "and other.offset < high and",
        "and other.offset <= high and",
        "the validator has a range above in the way of the one below",
    ),
    Mutant(
        LOOKUPS,
        "if span.start <= end and start <= span.end:",
        "if span.start <= end and start < span.end:",
        "the validator reuses addresses in the last instruction they are held for",
    ),
    Mutant(
        GAME,
        "            if offset - low >= size:\n",
        "            if offset - low > size:\n",
        "the validator refuses exact fits",
    ),
    Mutant(
        GAME,
        "Range(buffer, min(gaps)[1], size, start, end, since)",
        "Range(buffer, gaps[0][1], size, start, end, since)",
        "the validator takes the first gap",
    ),
    Mutant(
        GAME,
        "low = max(low, top)",
        "low = top",
        "the validator lets a short range hide the top of a longer one",
    ),
    Mutant(
        GAME,
        "first, before = task.last_around(wrote, inside) + 1,",
        "first, before = task.last_around(wrote, inside),",
        "the validator begins a write-back in the instruction that writes",
    ),
    Mutant(
        GAME,
        "                since_when = eviction.closes + 1\n",
        "                since_when = eviction.closes\n",
        "the validator copies back before the write-back has ended",
    ),
    Mutant(
        GAME,
        "lowest = max(since, task.bodies[inside[-1]].first if inside else 0)",
        "lowest = max(0, task.bodies[inside[-1]].first if inside else 0)",
        "the validator copies before slow memory has the data",
    ),
    Mutant(
        GAME,
        "lowest = max(since, task.bodies[inside[-1]].first if inside else 0)",
        "lowest = since",
        "the validator has a copy in each trip begin before the trip",
    ),
    Mutant(
        GAME,
        "                self.held.pop(buffer, None)\n",
        "                pass\n",
        "the validator keeps a fast copy that a slow write made old",
    ),
    Mutant(
        GAME,
        "self.fast[i] += use.fast",
        "self.fast[i] += use.slow",
        "the validator has fast memory as slow as the other",
    ),
    Mutant(
        GAME,
        'self.task.program.dead_end == "reserve" or self._starts_slow(use, place.since)',
        'self.task.program.dead_end == "reserve"',
        "the validator does not write through what the next trip reads in slow memory",
    ),
    Mutant(
        GAME,
        "            self.slow[i] += use.through\n",
        "",
        "the validator writes through for nothing",
    ),
    Mutant(
        GAME,
        "end = needed if buffer in self.task.ends else max(held.end, needed)",
        "end = max(held.end, needed)",
        "the validator keeps an output's room after its write-back",
    ),
    Mutant(
        GAME,
        "after = range(self.task.last_around(wrote, []) + 1, last + 1)",
        "after = range(wrote + 1, last + 1)",
        "the validator writes an output back while its loop goes on",
    ),
    Mutant(
        GAME,
        "after = range(self.task.last_around(wrote, []) + 1, last + 1)",
        "after = range(self.task.last_around(wrote, []) + 1, last)",
        "the validator writes no output back during the last instruction",
    ),
    Mutant(
        JUDGE,
        "    time = sum(game.time(i) for i in range(len(task.compute))) + stall\n",
        "    time = sum(game.time(i) for i in range(len(task.compute)))\n",
        "the validator forgets the stall at the end",
    ),
    Mutant(
        JUDGE,
        "all_slow = sum(max(c, s) for c, s in zip(task.compute, task.slow, strict=True))",
        "all_slow = sum(c + s for c, s in zip(task.compute, task.slow, strict=True))",
        "the validator adds computation to the time of memory",
    ),
    Mutant(
        JUDGE,
        '            if program.dead_end == "terminate":\n',
        '            if program.dead_end == "never":\n',
        "the validator rewinds under policy terminate",
    ),
    Mutant(
        JUDGE,
        "for a in (action, DROP, NO_COPY, COPY) if a in legal",
        "for a in (action, COPY, NO_COPY, DROP) if a in legal",
        "the validator has Copy stand in after a rewind",
    ),
    Mutant(
        JUDGE,
        "    if game.position < len(task.uses):\n        return _infeasible(\n",
        "    if game.position + 1 < len(task.uses):\n        return _infeasible(\n",
        "the validator accepts a plan that leaves the last decision open",
    ),
    Mutant(
        JUDGE,
        '            return _infeasible(f"action {at}: the program is over; nothing may follow")\n',
        "            break\n",
        "the validator does not read on after the program's end",
    ),
    Mutant(
        GAME,
        "                if custom.changed and custom.entry != self.position:\n",
        "                if custom.changed:\n",
        "the validator lets not even the first use in a loop drop what the loop changes",
    ),
    Mutant(
        GAME,
        "                place.since = i  # every trip makes it anew here\n",
        "                pass\n",
        "the validator takes what a trip makes anew for what was there before",
    ),
    Mutant(
        GAME,
        "same = custom.entry == self.position or not custom.changed",
        "same = True",
        "the validator copies a later use of what a loop changes before the loop",
    ),
)

# Of honest code an audit finds nothing, so only tests with plans made up for it see it fail.
AUDIT = (
    Mutant(
        REFERENCE,
        "if one.offset < 0 or one.offset + one.size > task.room:",
        "if one.offset < 0 or one.offset > task.room:",
        "the audit looks at where a range begins, not where it ends",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "        if one.offset % task.program.alignment:\n",
        "        if False:\n",
        "the audit does not look at the alignment",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "min(count, place.end + 1)",
        "min(count, place.end)",
        "the audit lets ranges overlap in one instruction",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "return one.offset < other.offset + other.size and other.offset < one.offset + one.size",
        "return one.offset == other.offset",
        "the audit sees ranges overlap only if they begin alike",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "if place is not None and not place.start <= use.instr <= place.end:",
        "if place is not None and not place.start <= use.instr:",
        "the audit lets a range be used after its end",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "                    if self.fast.get(place) != self.version[back.buffer]:\n",
        "                    if False:\n",
        "the audit lets anything be written back",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "            if here != version:\n",
        "            if here is None:\n",
        "the audit lets old data be used",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "        for buffer in self.task.ends & self.slow.keys():\n",
        "        for buffer in ():\n",
        "the audit lets outputs stay in fast memory",
        halves=False,
    ),
    Mutant(
        REFERENCE,
        "                    if self.fast.get(place) != -1:\n",
        "                    if False:\n",
        "the audit lets a copy's room be overwritten while it is made",
        halves=False,
    ),
    Mutant(
        GAME,
        "            if sum(transfer.parts.values()) != transfer.needs:\n",
        "            if not transfer.parts:\n",
        "the audit lets a copy take less time than it needs",
        halves=False,
    ),
    Mutant(
        GAME,
        "            if part + self.slow[i] > self.time(i):\n",
        "            if part > self.time(i):\n",
        "the audit lets slow memory move more than it can",
        halves=False,
    ),
)
