"""Faults of memory mapping, in the dynamics and in the objective; see mutant.py."""

from __future__ import annotations

from mutants.memory_mapping_validator import AUDIT, PLAYING, READING
from mutants.mutant import Mutant

ENV = "envs/memory_mapping"
STATIC, RULES, RANGES, RINGS = (
    f"{ENV}/{name}.py" for name in ("static", "rules", "ranges", "rings")
)
DYNAMICS, OBJECTIVE, SHELL = (f"{ENV}/{name}.py" for name in ("dynamics", "objective", "env"))
ACCESSES = "datasets/memory_mapping/instance.py"
LOOPS = "datasets/memory_mapping/loops.py"
NOTHING_LATER = (
    "Every range starts at or before the instruction being decided, so what is in the way up to a "
    "later one is in the way up to this one."
)
TESTS = tuple(
    f"tests/memory_mapping/test_{name}.py"
    for name in ("dynamics", "validate", "audit", "instance", "ranges", "loops", "solvers")
)

TIMES = (
    Mutant(
        STATIC,
        "slow = _times(a.read + a.written, program.slow_bw)",
        "slow = _times(a.read, program.slow_bw)",
        "writes to slow memory take no time",
    ),
    Mutant(
        STATIC,
        "_times(a.read, program.fast_read_bw)",
        "_times(a.read, program.fast_write_bw)",
        "reads of fast memory go at the bandwidth of writes",
    ),
    Mutant(
        STATIC,
        "_times(a.written, program.fast_write_bw)",
        "_times(a.written, program.fast_read_bw)",
        "writes to fast memory go at the bandwidth of reads",
    ),
    Mutant(
        STATIC,
        "program.copy_scale * program.slow_bw",
        "program.slow_bw",
        "copies go at slow memory's full bandwidth, whatever the scale",
    ),
    Mutant(
        STATIC,
        "program.copy_scale * program.slow_bw",
        "program.slow_bw / program.copy_scale",
        "a copy's scale is divided by in place of multiplied with",
    ),
    Mutant(
        STATIC,
        "-(-int(n) * rate.denominator // rate.numerator)",
        "int(n) * rate.denominator // rate.numerator",
        "times are rounded down",
    ),
    Mutant(
        STATIC,
        "round(Fraction(float(seconds)) * PS_PER_S * int(repeat))",
        "round(Fraction(float(seconds)) * PS_PER_S)",
        "computation is counted once, however often a loop repeats it",
    ),
    Mutant(
        STATIC,
        "dec_through=_times(a.written, program.slow_bw)[keep]",
        "dec_through=slow[keep]",
        "writing through takes the time of the reads as well",
    ),
    Mutant(
        STATIC,
        "all_slow=int(np.maximum(compute, instr_slow).sum())",
        "all_slow=int(max(compute.sum(), instr_slow.sum()))",
        "the all-slow time is the larger of the sums, not the sum of the larger",
    ),
    Mutant(
        STATIC,
        "runs[loop] = trips * runs[outer[loop]]",
        "runs[loop] = trips",
        "trips of the loops around a loop are forgotten",
    ),
    Mutant(
        STATIC,
        "min(MOST_PS, int(copy[d]) * runs[outer[loop]])",
        "min(MOST_PS, int(copy[d]) * runs[loop])",
        "a copy before a loop is paid for in every trip",
    ),
    Mutant(
        STATIC,
        "times = [int(copy[d]) * runs[inner[a.instr[access]]]",
        "times = [int(copy[d])",
        "a copy in every trip is paid for once",
    ),
    Mutant(
        RULES,
        "max(static.instr_compute[instr], own + state.fast[instr]) - own - state.booked[instr]",
        "max(static.instr_compute[instr], own + state.fast[instr]) - own",
        "idle time can be booked again",
    ),
    Mutant(
        RULES,
        "max(static.instr_compute[instr], own + state.fast[instr]) - own - state.booked[instr]",
        "max(static.instr_compute[instr], own) - own - state.booked[instr]",
        "slow memory is not idle while an instruction waits for fast memory",
    ),
    Mutant(
        RULES,
        "instr = first + k if forward else last - k",
        "instr = last - k if forward else first + k",
        "time is booked from the wrong end",
    ),
    Mutant(
        RULES,
        "            fast += static.dec_fast[d]\n",
        "",
        "accesses to fast memory take no time",
    ),
    Mutant(
        RULES,
        "            slow -= static.dec_slow[d]\n",
        "",
        "an access to fast memory takes slow memory's time as well",
    ),
    Mutant(
        RULES,
        "state.scalars[TIME] += max(compute, slow + fast) - was",
        "state.scalars[TIME] += slow + fast - was",
        "computation does not hide the time of memory",
    ),
    Mutant(
        RULES,
        "                slow += static.dec_through[d]\n",
        "",
        "writing through takes no time",
    ),
    Mutant(
        DYNAMICS,
        "            state.scalars[TIME] += left\n",
        "",
        "the stall at the end takes no time",
    ),
    Mutant(
        DYNAMICS,
        "    state.booked[:] = 0\n",
        "",
        "what copies had booked before a rewind stays booked",
    ),
    Mutant(
        DYNAMICS,
        "    state.slow[:] = static.instr_slow\n    state.fast[:] = 0\n",
        "    state.slow[:] = static.instr_slow\n",
        "fast memory's times before a rewind stay",
    ),
)

SPACE = (
    Mutant(
        STATIC,
        "buf_size=-(-a.size[used] // align) * align",
        "buf_size=a.size[used]",
        "sizes are not rounded to the alignment",
    ),
    Mutant(
        STATIC,
        "buf_size=-(-a.size[used] // align) * align",
        "buf_size=a.size[used] // align * align",
        "sizes are rounded down to the alignment",
    ),
    Mutant(
        STATIC,
        "buf_size=-(-a.size[used] // align) * align",
        "buf_size=(a.size[used] // align + 1) * align",
        "an aligned size is rounded up by a whole alignment",
    ),
    Mutant(
        STATIC,
        "capacity=program.capacity // align * align",
        "capacity=-(-program.capacity // align) * align",
        "capacity is rounded up to the alignment",
    ),
    Mutant(
        STATIC,
        "capacity=program.capacity // align * align",
        "capacity=program.capacity",
        "capacity is not rounded to the alignment",
        equivalent="Sizes and offsets are multiples of the alignment, so nothing more fits. The "
        "gap at the end is longer by less than that, and compares with the others as before.",
    ),
    Mutant(
        STATIC,
        "capacity=program.capacity // align * align",
        "capacity=program.capacity // align * align - align",
        "what fills fast memory exactly is refused",
    ),
    Mutant(
        RANGES,
        "gap = rects[R_OFFSET, k] - low\n        if size <= gap < best_gap:",
        "gap = rects[R_OFFSET, k] - low\n        if size < gap < best_gap:",
        "exact fits between ranges are refused",
    ),
    Mutant(
        RANGES,
        "gap = capacity - low\n    if size <= gap < best_gap:",
        "gap = capacity - low\n    if size < gap < best_gap:",
        "exact fits at the end of fast memory are refused",
    ),
    Mutant(
        RANGES,
        "            best, best_gap = low, gap\n",
        "            best, best_gap = low, size\n",
        "the first gap is taken, not the smallest",
    ),
    Mutant(
        RANGES,
        "gap = rects[R_OFFSET, k] - low\n        if size <= gap < best_gap:",
        "gap = rects[R_OFFSET, k] - low\n        if size <= gap <= best_gap:",
        "of equal gaps the highest is taken",
    ),
    Mutant(
        RANGES,
        "low = max(low, rects[R_TOP, k])",
        "low = rects[R_TOP, k]",
        "a short range hides the top of a longer one below it",
    ),
    Mutant(
        RANGES,
        "        if rects[R_END, k] < since:\n            continue",
        "        if rects[R_END, k] <= since:\n            continue",
        "addresses are free in the last instruction they are held for",
    ),
    Mutant(
        RANGES,
        "        if rects[R_OFFSET, k] >= top:\n            break",
        "        if rects[R_OFFSET, k] > top:\n            break",
        "a range that begins where another ends is in its way",
    ),
    Mutant(
        RANGES,
        "        if rects[R_END, k] > after and rects[R_TOP, k] > offset and "
        "rects[R_START, k] <= until:",
        "        if rects[R_END, k] > after and rects[R_TOP, k] > offset and "
        "rects[R_START, k] < until:",
        "a range may be held to where another begins",
    ),
    Mutant(
        RANGES,
        "        if rects[R_END, k] > after and rects[R_TOP, k] > offset and "
        "rects[R_START, k] <= until:",
        "        if rects[R_END, k] > after and rects[R_TOP, k] >= offset and "
        "rects[R_START, k] <= until:",
        "a range that ends where another begins is in its way",
    ),
    Mutant(
        RANGES,
        "        if rects[R_BUFFER, k] == buffer and rects[R_END, k] == was:\n"
        "            rects[R_END, k] = end\n",
        "        if rects[R_BUFFER, k] == buffer:\n            rects[R_END, k] = end\n",
        "an older range of the buffer is held longer",
    ),
    Mutant(
        RANGES,
        "        if end >= floor:\n",
        "        if end > floor:\n",
        "a range that ends at the floor is forgotten",
    ),
    Mutant(
        RANGES,
        "while first < width and rects[R_END, first] >= floor:",
        "while first < width and rects[R_END, first] > floor:",
        "a search further back misses what ends where it begins",
    ),
    Mutant(
        RULES,
        "top = offset + static.buf_size[buffer]",
        "top = offset + static.buf_size[buffer] - 1",
        "the last byte of a range is free",
    ),
    Mutant(
        ACCESSES,
        "placeable = (size >= SMALLEST_BYTES) & (size <= room) & ~pinned",
        "placeable = (size > SMALLEST_BYTES) & (size <= room) & ~pinned",
        "the smallest buffer that counts does not",
    ),
    Mutant(
        ACCESSES,
        "placeable = (size >= SMALLEST_BYTES) & (size <= room) & ~pinned",
        "placeable = (size >= SMALLEST_BYTES) & (size < room) & ~pinned",
        "a buffer as large as fast memory is not placed",
    ),
    Mutant(
        ACCESSES,
        "room = program.capacity // program.alignment * program.alignment",
        "room = program.capacity",
        "a buffer that fits only without the alignment is placed",
    ),
)

LIVES = (
    Mutant(
        STATIC,
        "until[d] = instr[dec_next[d]]\n",
        "until[d] = instr[dec_next[d]] - 1\n",
        "a fast write is given up just before its next use",
    ),
    Mutant(
        STATIC,
        "until[d] = program.n_instrs - 1\n",
        "until[d] = program.n_instrs - 2\n",
        "an output is given up before the last instruction",
    ),
    Mutant(
        STATIC,
        "if a.at_end[used[buffer[d]]] and dead_end != RESERVE:",
        "if a.at_end[used[buffer[d]]]:",
        "an output that was written through is held to the end",
    ),
    Mutant(
        RULES,
        "        until = static.dec_until[d] if static.dec_writes[d] else instr\n"
        "        stays = end >= 0",
        "        until = instr\n        stays = end >= 0",
        "a write in place asks for its room only up to itself",
        equivalent=NOTHING_LATER,
    ),
    Mutant(
        RULES,
        "        if stays and end < until:\n",
        "        if stays and end + 1 < until:\n",
        "a buffer may stay an instruction longer than its room is free",
    ),
    Mutant(
        RULES,
        "if until > state.end[buffer]:",
        "if until != state.end[buffer]:",
        "a use cuts the time a buffer is held for",
    ),
    Mutant(
        RULES,
        "                state.valid[buffer] = instr + 1\n                state.end[buffer] = -1",
        "                state.valid[buffer] = instr + 1",
        "a slow write leaves the old fast copy valid",
    ),
    Mutant(
        RULES,
        "held = max(last, state.used[buffer])",
        "held = last",
        "a write-back gives up room that a use still needs",
    ),
    Mutant(
        RULES,
        "if held > state.end[buffer] or static.buf_at_end[buffer]:",
        "if held > state.end[buffer]:",
        "an output keeps its room after it was written back",
    ),
    Mutant(
        RULES,
        "        if in_time and instr > after:\n",
        "        if in_time and instr > after + 1:\n",
        "a write-back ends an instruction after its room does",
    ),
    Mutant(
        RULES,
        "            in_time = stays_free(state.rects, state.counts, offset, size, after, instr)\n",
        "            in_time = False\n",
        "a write-back is not allowed to hold its room longer, though it is free",
    ),
    Mutant(
        DYNAMICS,
        "state.valid[buffer] = 0 if static.buf_at_start[buffer] else NEVER",
        "state.valid[buffer] = 1 if static.buf_at_start[buffer] else NEVER",
        "arguments are there after the first instruction only",
    ),
    Mutant(
        ACCESSES,
        "at_start[buffer_of[(program.tensor_kind == ARG) | (program.tensor_kind == CONST)]] = True",
        "at_start[buffer_of[program.tensor_kind == ARG]] = True",
        "constants are not there at the start",
    ),
    Mutant(
        ACCESSES,
        "at_end[buffer_of[program.tensor_kind == OUT]] = True",
        "at_end[program.tensor_alias[program.tensor_kind == OUT]] = False",
        "outputs need not be in slow memory at the end",
    ),
    Mutant(
        DYNAMICS,
        "if static.buf_at_end[buffer] and state.dirty[buffer] == d:",
        "if state.dirty[buffer] == d:",
        "what is no output is written back at the end",
    ),
)

COPIES = (
    Mutant(
        RULES,
        "instr, before, left = wrote + 1, static.dec_instr[d], static.buf_copy[buffer]",
        "instr, before, left = wrote, static.dec_instr[d], static.buf_copy[buffer]",
        "a write-back begins in the instruction that writes",
    ),
    Mutant(
        RULES,
        "            if left <= 0:\n                break\n            instr += 1",
        "            if left < 0:\n                break\n            instr += 1",
        "a write-back that needs just the idle time there is goes on",
    ),
    Mutant(
        RULES,
        "        in_time = instr < before\n",
        "        in_time = instr <= before\n",
        "a write-back may end during the use that needs it",
    ),
    Mutant(
        RULES,
        "valid = ends + 1 if ends >= 0 else NEVER",
        "valid = ends if ends >= 0 else NEVER",
        "a copy back begins before the write-back has ended",
    ),
    Mutant(
        RULES,
        "mask[DROP] = valid <= instr",
        "mask[DROP] = valid < instr",
        "slow memory cannot be read right after it was written",
    ),
    Mutant(
        RULES,
        "        left, start = static.buf_copy[buffer], instr\n"
        "        while left > 0 and start > valid:",
        "        left, start = static.buf_copy[buffer], instr\n"
        "        while left > 0 and start >= max(valid, 1):",
        "a copy begins an instruction before slow memory has the data",
    ),
    Mutant(
        RULES,
        "        if left <= 0:\n            offset = best_fit",
        "        if left < 0:\n            offset = best_fit",
        "a copy that needs just the idle time there is is refused",
    ),
    Mutant(
        RULES,
        "            offset = best_fit(state.rects, state.counts, start, size, static.capacity)\n"
        "            pending[P_COPY_OFFSET] = offset",
        "            offset = best_fit(state.rects, state.counts, instr, size, static.capacity)\n"
        "            pending[P_COPY_OFFSET] = offset",
        "a copy needs its room only from the use on",
    ),
    Mutant(
        RULES,
        "        state.valid[buffer] = last + 1\n        state.dirty[buffer] = -1",
        "        state.valid[buffer] = last\n        state.dirty[buffer] = -1",
        "what is written back is valid an instruction early",
    ),
    Mutant(
        RULES,
        "                state.valid[buffer] = instr + 1\n                state.end[buffer] = -1",
        "                state.valid[buffer] = instr\n                state.end[buffer] = -1",
        "a slow write is valid in the instruction that makes it",
    ),
    Mutant(
        RULES,
        "through = static.dead_end == RESERVE\n",
        "through = False\n",
        "policy reserve does not write through",
    ),
    Mutant(
        RULES,
        "                state.valid[buffer] = NEVER\n",
        "",
        "slow memory still has what a fast write has changed",
    ),
    Mutant(
        DYNAMICS,
        "first = leave(static.instr_loop, static.loop_rows, static.dec_instr[d], last + 1) + 1",
        "first = static.dec_instr[d] + 1",
        "an output is written back while its loop goes on",
    ),
    Mutant(
        ACCESSES,
        "row[int(program.op_write[op])] += repeat * int(program.op_bytes[op])",
        "row[int(program.op_write[op])] += int(program.op_bytes[op])",
        "traffic is counted once, however often a loop repeats it",
    ),
    Mutant(
        ACCESSES,
        "    table[away, :2] = 0\n",
        "    table[away, :1] = 0\n",
        "writes to the host's memory take slow memory's time",
    ),
    Mutant(
        ACCESSES,
        "pinned[buffer_of[program.tensor_pin != FREE]] = True",
        "pinned[buffer_of[program.tensor_pin == AWAY]] = True",
        "what is pinned to slow memory may leave it",
    ),
)

TRIPS = (
    Mutant(
        STATIC,
        "held[*key] = max(held[*key], int(until[d]))",
        "held[*key] = max(held[*key], 0)",
        "what a loop writes is held to the loop's end only",
        equivalent="After the first use in the loop the write must follow, which holds the room to "
        "its own next use; what is placed in between sees the room taken either way.",
    ),
    Mutant(
        STATIC,
        "held = {key: loops[key[0]].last for key in seen}",
        "held = {key: loops[key[0]].last - 1 for key in seen}",
        "what stays in a loop is given up before its last instruction",
    ),
    Mutant(
        STATIC,
        "        rows += reversed(around)\n",
        "        rows += around\n",
        "loops around a use are looked at from the innermost",
    ),
    Mutant(
        ACCESSES,
        "if row[4] == 0 and program.op_bytes[op] >= size[buffer]:",
        "if row[4] == 0 and program.op_bytes[op] > size[buffer]:",
        "what is written whole counts as written in part",
    ),
    Mutant(
        ACCESSES,
        "                row[4] = -1  # what is read is needed, whatever is written\n",
        "                pass\n",
        "an update in place counts as if nothing were read",
    ),
    Mutant(
        LOOPS,
        "found.get((loop, buffer), Visit(access, not replaces[access], False))",
        "found.get((loop, buffer), Visit(access, True, False))",
        "loops carry what every trip makes anew",
    ),
    Mutant(
        LOOPS,
        "changed=visit.changed or bool(writes[access])",
        "changed=bool(writes[access])",
        "a loop whose last use reads changes nothing",
    ),
    Mutant(
        RINGS,
        "        if rings[ring, FIRST] > since:\n",
        "        if rings[ring, FIRST] >= since:\n",
        "what came into fast memory with a loop's first instruction was there before the loop",
    ),
    Mutant(
        RINGS,
        "return max(until, rings[ring, UNTIL]) if ring != NONE else until",
        "return until",
        "what stays in a loop asks for its room only up to its use",
        equivalent=NOTHING_LATER,
    ),
    Mutant(
        RINGS,
        "return bool(rings[ring, FIRST] <= since)",
        "return bool(rings[ring, FIRST] < since)",
        "what came into fast memory with a trip's first instruction is not written through",
    ),
    Mutant(
        RINGS,
        "same = rings[ring, ENTRY] == d or not rings[ring, CHANGED]",
        "same = not rings[ring, CHANGED]",
        "no copy is made before a loop that changes the buffer",
    ),
    Mutant(
        RINGS,
        "same = rings[ring, ENTRY] == d or not rings[ring, CHANGED]",
        "same = True",
        "a later use of what a loop changes is copied before the loop",
    ),
    Mutant(
        RINGS,
        "        instr = loop_rows[loop, L_LAST]\n",
        "        instr = loop_rows[loop, L_LAST] - 1\n",
        "a copy ends before the last instruction of the loop it leaves",
    ),
    Mutant(
        RINGS,
        "        instr = loop_rows[loop, L_FIRST]\n",
        "        pass\n",
        "a copy needs its room only from within an earlier loop on",
    ),
    Mutant(
        RINGS,
        "return ring if ring != NONE and rings[ring, CHANGED] else NONE",
        "return ring",
        "the first use in a loop settles where what is only read is found",
    ),
    Mutant(
        RULES,
        "since = static.rings[outer, FIRST]  # all trips",
        "since = instr  # all trips",
        "what all trips add to needs its room only from its first use on",
    ),
    Mutant(
        RULES,
        "if ring != NONE and static.rings[ring, ENTRY] != d:",
        "if ring != NONE:",
        "not even the first use in a loop may drop what the loop changes",
    ),
    Mutant(
        RULES,
        "birth = instr  # the loop's first use",
        "pass  # the loop's first use",
        "what a trip makes anew counts as there since before the loop",
    ),
    Mutant(
        RULES,
        "                state.end[buffer] = -1  # later trips would find the buffer changed\n",
        "                pass\n",
        "a dropped use in a loop leaves the fast copy, which later trips find changed",
    ),
    Mutant(
        RULES,
        "first = max(valid, static.rings[ring - 1, FIRST] if ring > outer else 0)",
        "first = valid",
        "a copy in each trip begins before the trip",
    ),
    Mutant(
        RULES,
        "        valid = leave(static.instr_loop, static.loop_rows, valid - 1, instr) + 1\n",
        "        pass\n",
        "a copy begins while the loop that writes the buffer goes on",
    ),
)

REWINDS = (
    Mutant(
        DYNAMICS,
        "                    action = DROP\n                    while not state.mask[action]:\n"
        "                        action -= 1",
        "                    action = 0\n                    while not state.mask[action]:\n"
        "                        action += 1",
        "after a rewind Copy stands in for what is no longer legal",
    ),
    Mutant(
        DYNAMICS,
        "culprit = static.rings[ring, ENTRY]",
        "pass",
        "a rewind blames a write in a loop, not the loop's first use",
    ),
    Mutant(
        DYNAMICS,
        "if static.dead_end == TERMINATE:",
        "if static.dead_end != TERMINATE:",
        "policies backup and terminate are mixed up",
    ),
    Mutant(
        DYNAMICS,
        "            state.scalars[OUTCOME] = DEAD\n",
        "            state.scalars[OUTCOME] = FINISHED\n",
        "a dead end counts as the program's end",
    ),
    Mutant(
        SHELL,
        '"feasible": scalars[OUTCOME] == FINISHED,',
        '"feasible": scalars[OUTCOME] != DEAD,',
        "a program that is not decided to its end counts",
    ),
    Mutant(
        SHELL,
        "if not (0 <= chosen < 3 and state.mask[chosen] and state.scalars[OUTCOME] == GOES_ON):",
        "if not (chosen < 3 and state.mask[chosen] and state.scalars[OUTCOME] == GOES_ON):",
        "negative actions count from the last",
    ),
    Mutant(
        OBJECTIVE,
        "return static.all_slow / int(state.scalars[TIME]) if state.scalars[TIME] else 1.0",
        "return int(state.scalars[TIME]) / static.all_slow if state.scalars[TIME] else 1.0",
        "the speed-up is the share of time that is left",
    ),
    Mutant(
        OBJECTIVE,
        "if state.scalars[TIME] else 1.0",
        "if state.scalars[TIME] else 0.0",
        "a program that takes no time has no speed-up",
    ),
    Mutant(
        OBJECTIVE,
        "return picoseconds / static.all_slow if static.all_slow else 0.0",
        "return picoseconds * 1e-12",
        "rewards are seconds, not parts of the all-slow time",
        halves=False,
    ),
    Mutant(
        OBJECTIVE,
        "saves = static.dec_slow[decision] > static.dec_fast[decision]",
        "saves = True",
        "the bound has everything in fast memory, even where that is slower",
        halves=False,
    ),
    Mutant(
        OBJECTIVE,
        "        max(int(c), int(s) + int(f))\n",
        "        int(c) + int(s) + int(f)\n",
        "the bound adds computation to the time of memory",
        halves=False,
    ),
)

MUTANTS = (
    *TIMES, *SPACE, *LIVES, *COPIES, *TRIPS, *REWINDS, *READING, *PLAYING, *AUDIT,
)  # fmt: skip
