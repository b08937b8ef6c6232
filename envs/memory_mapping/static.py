"""The compiled functions' view of a program: arrays that no decision changes."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ...datasets.memory_mapping.instance import DEAD_ENDS, Program, accesses

BACKUP, TERMINATE, RESERVE = range(len(DEAD_ENDS))
PS_PER_S = 10**12


class Static(NamedTuple):
    """What no decision changes: D decisions on B buffers in I instructions; times in ps."""

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
    compute = np.array(
        [
            round(Fraction(float(seconds)) * PS_PER_S * int(repeat))
            for seconds, repeat in zip(program.instr_compute_s, program.instr_repeat, strict=True)
        ],
        np.int64,
    )
    instr_slow = np.zeros(program.n_instrs, np.int64)
    np.add.at(instr_slow, a.instr, slow)
    instr, buffer, writes = a.instr[keep], row_of[a.buffer[keep]], a.writes[keep]
    dead_end = DEAD_ENDS.index(program.dead_end)
    count = len(keep)
    following = np.full(len(used), count, np.int64)
    dec_next = np.full(count, count, np.int64)
    until = instr.copy()
    for d in range(count - 1, -1, -1):
        dec_next[d] = following[buffer[d]]
        if dec_next[d] < count:
            until[d] = instr[dec_next[d]]
        if a.at_end[used[buffer[d]]] and dead_end != RESERVE:
            until[d] = program.n_instrs - 1
        following[buffer[d]] = d
    align = program.alignment
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
        buf_size=-(-a.size[used] // align) * align,
        buf_copy=_times(a.size[used], program.copy_scale * program.slow_bw),
        buf_at_start=a.at_start[used].astype(np.int64),
        buf_at_end=a.at_end[used].astype(np.int64),
        capacity=program.capacity // align * align,
        dead_end=dead_end,
        all_slow=int(np.maximum(compute, instr_slow).sum()),
    )


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
    return np.array([-(-int(n) * rate.denominator // rate.numerator) for n in amounts], np.int64)
