"""Where the transfers of the relaxed game may be made: copies into fast memory, and write-backs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...envs.memory_mapping.dynamics import Static
from ...envs.memory_mapping.rings import NONE, entered, first_place, leave
from ...envs.memory_mapping.static import FIRST, TIME_BEFORE

Key = tuple[str, int, int]  # "in" or "out", the decision, and which of its windows


@dataclass(slots=True)
class Window:
    """Where a transfer may be made: first..last - 1 (instructions); and the time it takes, ps.

    Attributes:
        ring: of a copy that is made before a loop, the loop's ring; NONE otherwise.
    """

    first: int
    last: int
    takes: int
    ring: int = NONE


def last_writes(static: Static, before: np.ndarray) -> np.ndarray:
    """Find the buffer's last write before each decision, int64 [D]; -1 for none."""
    written = np.full(len(before), -1, np.int64)
    for d, previous in enumerate(before):
        if previous >= 0:
            written[d] = previous if static.dec_writes[previous] else written[previous]
    return written


def find_windows(
    static: Static, before: np.ndarray, written: np.ndarray, reserve: bool
) -> dict[Key, Window]:
    """Find where each possible copy ("in") and write-back ("out") may be made."""
    windows: dict[Key, Window] = {}
    for d in range(len(before)):
        if not static.dec_makes[d]:
            for row, window in enumerate(_copy_windows(static, d, int(written[d]))):
                windows["in", d, row] = window
        if static.dec_writes[d] and not reserve:
            windows["out", d, 0] = _write_back_window(static, d)
    return windows


def _left(static: Static, instr: int, target: int) -> int:
    """Return the first instruction after all loops around `instr` that end before `target`."""
    return int(leave(static.instr_loop, static.loop_rows, instr, target)) + 1


def _copy_windows(static: Static, d: int, wrote: int) -> list[Window]:
    """Find where a copy for decision d may be made, after what decision `wrote` (-1 for none)
    wrote: before each loop whose trips find the same, and in every execution.
    """
    instr, outer, own = (
        int(static.dec_instr[d]),
        int(static.dec_ring[d]),
        int(static.dec_ring[d + 1]),
    )
    lowest = _left(static, int(static.dec_instr[wrote]), instr) if wrote >= 0 else 0
    windows = []
    for ring in range(first_place(static.rings, outer, own, d), own + 1):
        first = max(lowest, int(static.rings[ring - 1, FIRST]) if ring > outer else 0)
        if ring == own:
            windows.append(Window(first, instr, int(static.dec_copy[d])))
        else:
            last, takes = static.rings[ring, FIRST], static.rings[ring, TIME_BEFORE]
            windows.append(Window(first, max(first, int(last)), int(takes), ring))
    return windows


def _write_back_window(static: Static, d: int) -> Window:
    """Find where what decision d writes may be written back, for any use until the next write, and
    the least time that this takes.
    """
    instr, buffer, count = int(static.dec_instr[d]), static.dec_buffer[d], len(static.dec_instr)
    end, first, takes = instr + 1, len(static.instr_slow), int(static.dec_copy[d])
    use = int(static.dec_next[d])
    while use < count:
        end = int(static.dec_instr[use])
        first = min(first, _left(static, instr, end))
        ring = int(entered(static.rings, static.dec_ring[use], static.dec_ring[use + 1], instr))
        takes = min(
            takes, int(static.dec_copy[use] if ring == NONE else static.rings[ring, TIME_BEFORE])
        )
        if static.dec_writes[use]:
            break
        use = int(static.dec_next[use])
    if use == count and static.buf_at_end[buffer]:
        end, takes = len(static.instr_slow), int(static.buf_copy[buffer])
        first = min(first, _left(static, instr, end))
    return Window(min(first, end), end, takes)
