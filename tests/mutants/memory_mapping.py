"""Faults of memory mapping, in times, space and live ranges; the lists beside add the others."""

from __future__ import annotations

from mutants.memory_mapping_loops import COPIES, NOTHING_LATER, REWINDS, TRIPS
from mutants.memory_mapping_validator import AUDIT, PLAYING, READING
from mutants.mutant import Mutant

ENV = "envs/memory_mapping"
STATIC, RULES, RANGES, DYNAMICS = (
    f"{ENV}/{name}.py" for name in ("static", "rules", "ranges", "dynamics")
)
ACCESSES = "datasets/memory_mapping/instance.py"
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
        "-(-n * rate.denominator // rate.numerator)",
        "n * rate.denominator // rate.numerator",
        "times are rounded down",
    ),
    Mutant(
        STATIC,
        "round(Fraction(float(each)) * PS_PER_S * int(times))",
        "round(Fraction(float(each)) * PS_PER_S)",
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
        "book(static, state, first, last, amount, True)",
        "book(static, state, first, last, amount, False)",
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
        "until[used_again] = instr[dec_next[used_again]]\n",
        "until[used_again] = instr[dec_next[used_again]] - 1\n",
        "a fast write is given up just before its next use",
    ),
    Mutant(
        STATIC,
        "until[a.at_end[used[buffer]]] = program.n_instrs - 1\n",
        "until[a.at_end[used[buffer]]] = program.n_instrs - 2\n",
        "an output is given up before the last instruction",
    ),
    Mutant(
        STATIC,
        "    if dead_end != RESERVE:\n",
        "    if True:\n",
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

MUTANTS = (
    *TIMES, *SPACE, *LIVES, *COPIES, *TRIPS, *REWINDS, *READING, *PLAYING, *AUDIT,
)  # fmt: skip
