"""The compiled functions' view of a program: arrays that no decision changes."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ...datasets.memory_mapping.instance import DEAD_ENDS, Accesses, Program, accesses, visits_of
from ...datasets.memory_mapping.loops import innermost, parents
from ..packed import Matrix

BACKUP, TERMINATE, RESERVE = range(len(DEAD_ENDS))
PS_PER_S = 10**12
MOST_PS = 1 << 60  # no copy takes longer; what would is never affordable


# Columns of Static.loop_rows: a body's first and last instruction, and the innermost loop around it
# (-1 for none).
L_FIRST, L_LAST, L_UP = range(3)
# Columns of Static.rings: the loop's first and last instruction; 1 where a trip finds the buffer as
# it was before the trip; 1 where the body writes it; the body's first decision on it; the
# instruction up to which it is held where it stays in fast memory; and the time of a copy each time
# that the loop is reached.
FIRST, LAST, CARRIED, CHANGED, ENTRY, UNTIL, TIME_BEFORE = range(7)


class Static(NamedTuple):
    """What no decision changes: D decisions on B buffers in I instructions; times in ps.

    Times are totals over all executions. L loops are around instructions, and R rings say what the
    loops around a decision's instruction do to its buffer: decision d has the rings
    dec_ring[d]:dec_ring[d+1], one for each loop, the outermost first.
    """

    dec_instr: np.ndarray  # int64 [D]
    dec_buffer: np.ndarray  # int64 [D]
    dec_slow: np.ndarray  # int64 [D]; slow memory's time if dropped
    dec_fast: np.ndarray  # int64 [D]; fast memory's time if not
    dec_through: np.ndarray  # int64 [D]; slow memory's time of writing through (policy reserve)
    dec_writes: np.ndarray  # int64 [D]; 1 for writes
    dec_makes: np.ndarray  # int64 [D]; 1 for the first write of a buffer that held nothing before
    dec_until: np.ndarray  # int64 [D]; instruction up to which a fast write is held
    dec_next: np.ndarray  # int64 [D]; the buffer's next decision, D for none
    instr_compute: np.ndarray  # int64 [I]
    instr_slow: np.ndarray  # int64 [I]; slow memory's time with everything dropped
    instr_first: np.ndarray  # int64 [I+1]; instruction i has decisions instr_first[i]:[i+1]
    loops: int  # L
    instr_loop: np.ndarray  # int64 [I]; the innermost loop around it, -1 for none
    loop_rows: Matrix  # int64 [L + 1, 3]; columns below; the last row is empty
    dec_ring: np.ndarray  # int64 [D+1]
    dec_copy: np.ndarray  # int64 [D]; time of a copy in every execution of the instruction
    rings: Matrix  # int64 [R + 1, 7]; columns below; the last row is empty
    buf_size: np.ndarray  # int64 [B]; bytes, rounded up to the alignment
    buf_copy: np.ndarray  # int64 [B]; time of a copy between the memories
    buf_at_start: np.ndarray  # int64 [B]; 1 where slow memory has it before the program
    buf_at_end: np.ndarray  # int64 [B]; 1 where slow memory must have it after
    capacity: int  # bytes, rounded down to the alignment
    dead_end: int
    all_slow: int  # the program's time with everything dropped


def make_static(program: Program) -> Static:
    """The compiled functions' view of a program."""
    a = accesses(program)
    keep = np.flatnonzero(a.decides)
    used = np.unique(a.buffer[keep])
    row_of = np.full(len(a.size), -1, np.int64)
    row_of[used] = np.arange(len(used))
    slow = _times(a.read + a.written, program.slow_bw)
    fast = _times(a.read, program.fast_read_bw) + _times(a.written, program.fast_write_bw)
    seconds, second_of = np.unique(program.instr_compute_s, return_inverse=True)
    repeats, repeat_of = np.unique(program.instr_repeat, return_inverse=True)
    runs, row = np.unique(second_of * len(repeats) + repeat_of, return_inverse=True)
    pairs = zip(seconds[runs // len(repeats)], repeats[runs % len(repeats)], strict=True)
    compute = np.array(
        [round(Fraction(float(each)) * PS_PER_S * int(times)) for each, times in pairs], np.int64
    )[row]
    instr_slow = np.zeros(program.n_instrs, np.int64)
    np.add.at(instr_slow, a.instr, slow)
    instr, buffer, writes = a.instr[keep], row_of[a.buffer[keep]], a.writes[keep]
    dead_end = DEAD_ENDS.index(program.dead_end)
    count = len(keep)
    by_buffer = np.argsort(buffer, kind="stable")
    dec_next = np.full(count, count, np.int64)
    again = buffer[by_buffer][:-1] == buffer[by_buffer][1:]
    dec_next[by_buffer[:-1][again]] = by_buffer[1:][again]
    until = instr.copy()
    used_again = np.flatnonzero(dec_next < count)
    until[used_again] = instr[dec_next[used_again]]
    if dead_end != RESERVE:
        until[a.at_end[used[buffer]]] = program.n_instrs - 1
    align = program.alignment
    copy = _times(a.size[used], program.copy_scale * program.slow_bw)
    return Static(
        dec_instr=instr,
        dec_buffer=buffer,
        dec_slow=slow[keep],
        dec_fast=fast[keep],
        dec_through=_times(a.written, program.slow_bw)[keep],
        dec_writes=writes.astype(np.int64),
        dec_makes=a.makes[keep].astype(np.int64),
        dec_until=until,
        dec_next=dec_next,
        instr_compute=compute,
        instr_slow=instr_slow,
        instr_first=np.searchsorted(instr, np.arange(program.n_instrs + 1)).astype(np.int64),
        loops=len(program.loops),
        **_rings(program, a, until, copy[buffer]),
        buf_size=-(-a.size[used] // align) * align,
        buf_copy=copy,
        buf_at_start=a.at_start[used].astype(np.int64),
        buf_at_end=a.at_end[used].astype(np.int64),
        capacity=program.capacity // align * align,
        dead_end=dead_end,
        all_slow=int(np.maximum(compute, instr_slow).sum()),
    )


def _rings(
    program: Program, a: Accesses, until: np.ndarray, copy: np.ndarray
) -> dict[str, np.ndarray]:
    """Return Static's fields on loops.

    Args:
        program: the program.
        a: its accesses.
        until: instruction up to which each decision's fast write is held, int64 [D].
        copy: time of one copy of each decision's buffer, ps, int64 [D].
    """
    loops = program.loops
    if not loops:
        return {
            "instr_loop": np.full(program.n_instrs, -1, np.int64),
            "loop_rows": np.full((1, 3), -1, np.int64),
            "dec_ring": np.zeros(len(until) + 1, np.int64),
            "dec_copy": np.minimum(copy, MOST_PS),
            "rings": np.full((1, 7), -1, np.int64),
        }
    inner, outer = innermost(loops, program.n_instrs), parents(loops)
    runs = [1] * (len(loops) + 1)  # of each loop's body; the last is the program's, once
    for loop, (_, _, trips) in enumerate(loops):
        runs[loop] = trips * runs[outer[loop]]
    seen = visits_of(program, a)
    accesses_ = np.flatnonzero(a.decides).tolist()
    decision_of = {access: d for d, access in enumerate(accesses_)}
    held = {key: loops[key[0]].last for key in seen}
    starts, rows = [0], []
    for d, access in enumerate(accesses_):
        around, loop = [], inner[a.instr[access]]
        while loop >= 0:
            around.append((d, loop, int(a.buffer[access])))
            loop = outer[loop]
        for _, *key in around if a.writes[access] else ():
            held[*key] = max(held[*key], int(until[d]))
        rows += reversed(around)
        starts.append(len(rows))

    table = [
        (
            *loops[loop][:2],
            *seen[loop, buffer][1:],
            decision_of[seen[loop, buffer].entry],
            held[loop, buffer],
            min(MOST_PS, int(copy[d]) * runs[outer[loop]]),
        )
        for d, loop, buffer in rows
    ]
    bodies = [(first, last, up) for (first, last, _), up in zip(loops, outer, strict=True)]
    times = [int(copy[d]) * runs[inner[a.instr[access]]] for d, access in enumerate(accesses_)]
    return {
        "instr_loop": np.array(inner, np.int64),
        "loop_rows": np.array([*bodies, (-1,) * 3], np.int64),
        "dec_ring": np.array(starts, np.int64),
        "dec_copy": np.minimum(np.array(times, object), MOST_PS).astype(np.int64),
        "rings": np.array([*table, (-1,) * 7], np.int64),
    }


def planning_static(program: Program) -> Static:
    """The program's arrays, with dead ends backed up from.

    The actions that a rewind leaves meet no dead end, so they are a plan under policy terminate
    too.
    """
    static = make_static(program)
    return static._replace(dead_end=BACKUP) if static.dead_end == TERMINATE else static


def _times(amounts: np.ndarray, bandwidth: float) -> np.ndarray:
    """Whole picoseconds, rounded up, of so many bytes at so many bytes/s."""
    rate = Fraction(float(bandwidth)) / PS_PER_S
    different, row = np.unique(amounts, return_inverse=True)
    times = [-(-n * rate.denominator // rate.numerator) for n in different.tolist()]
    return np.array(times, np.int64)[row]
