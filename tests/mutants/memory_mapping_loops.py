"""Faults of memory mapping in what it copies, in the trips of loops and in what is taken back."""

from __future__ import annotations

from mutants.mutant import Mutant

ENV = "envs/memory_mapping"
STATIC, RULES, RINGS, DYNAMICS, OBJECTIVE, SHELL = (
    f"{ENV}/{name}.py" for name in ("static", "rules", "rings", "dynamics", "objective", "env")
)
ACCESSES = "datasets/memory_mapping/instance.py"
LOOPS = "datasets/memory_mapping/loops.py"
NOTHING_LATER = (
    "Every range starts at or before the instruction being decided, so what is in the way up to a "
    "later one is in the way up to this one."
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
        "traffic = program.instr_repeat[instr] * program.op_bytes",
        "traffic = program.op_bytes.copy()",
        "traffic is counted once, however often a loop repeats it",
    ),
    Mutant(
        ACCESSES,
        "program.tensor_pin == AWAY])[access]] = 0",
        "program.tensor_pin == AWAY])[access] & ~wrote] = 0",
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
        "program.op_bytes >= size[buffer[access]]",
        "program.op_bytes > size[buffer[access]]",
        "what is written whole counts as written in part",
    ),
    Mutant(
        ACCESSES,
        "    replaces[access[~wrote]] = False  # what is read is needed, whatever is written\n",
        "",
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
        "                action = DROP\n                while not state.mask[action]:\n"
        "                    action -= 1",
        "                action = 0\n                while not state.mask[action]:\n"
        "                    action += 1",
        "after a rewind Copy stands in for what is no longer legal",
    ),
    Mutant(
        DYNAMICS,
        "return int(static.rings[ring, ENTRY] if ring != NONE else culprit)",
        "return int(culprit)",
        "a rewind blames a write in a loop, not the loop's first use",
    ),
    Mutant(
        DYNAMICS,
        "if static.dead_end != TERMINATE:",
        "if static.dead_end == TERMINATE:",
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
        "saves = static.dec_slow > static.dec_fast",
        "saves = static.dec_slow >= 0",
        "the bound has everything in fast memory, even where that is slower",
        halves=False,
    ),
    Mutant(
        OBJECTIVE,
        "np.maximum(static.instr_compute, slow + fast).sum()",
        "(static.instr_compute + slow + fast).sum()",
        "the bound adds computation to the time of memory",
        halves=False,
    ),
)
