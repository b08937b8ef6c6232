"""An episode in one array, so that a call into compiled code costs one argument instead of thirty.

Crossing into compiled code costs a third of a microsecond an array; the environment does it once a
step.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..borrowed import borrow
from .dynamics import State, Static, reset, step
from .observation import observe

HEADER = 6


def pack(static: Static) -> np.ndarray:
    """int64: sizes, the static arrays, and room for a state; `restart` fills the state."""
    count, instrs, buffers = len(static.dec_instr), len(static.instr_slow), len(static.buf_size)
    arrays = [field for field in static if isinstance(field, np.ndarray)]
    head = [count, instrs, buffers, static.capacity, static.dead_end, static.all_slow]
    room = 6 + 3 + 4 + 3 + 5 * count + 3 * instrs + 5 * buffers + 5 * (count + 1)
    return np.concatenate([np.array(head, np.int64), *arrays, np.zeros(room, np.int64)])


@njit(cache=True)
def unpack(ints: np.ndarray) -> tuple[Static, State]:
    """Static and State as views into the array; in Python, call `unpack.py_func`."""
    d, i, b = ints[0], ints[1], ints[2]
    at = HEADER
    decs = ints[at : at + 9 * d].reshape(9, d)
    at += 9 * d
    instrs = ints[at : at + 2 * i].reshape(2, i)
    at += 2 * i
    first = ints[at : at + i + 1]
    at += i + 1
    bufs = ints[at : at + 4 * b].reshape(4, b)
    at += 4 * b
    static = Static(
        decs[0], decs[1], decs[2], decs[3], decs[4], decs[5], decs[6], decs[7], decs[8],
        instrs[0], instrs[1], first, bufs[0], bufs[1], bufs[2], bufs[3],
        ints[3], ints[4], ints[5],
    )  # fmt: skip
    small = ints[at : at + 16]
    at += 16
    taken = ints[at : at + 2 * d].reshape(2, d)
    at += 2 * d
    moves = ints[at : at + 3 * d].reshape(d, 3)
    at += 3 * d
    times = ints[at : at + 3 * i].reshape(3, i)
    at += 3 * i
    places = ints[at : at + 5 * b].reshape(5, b)
    at += 5 * b
    rects = ints[at : at + 5 * (d + 1)].reshape(5, d + 1)
    state = State(
        small[:6], small[6:9], small[9:13], taken[0], taken[1], moves,
        times[0], times[1], times[2],
        places[0], places[1], places[2], places[3], places[4],
        small[13:16], rects,
    )  # fmt: skip
    return static, state


@njit(cache=True)
def restart(
    ints: np.ndarray,
    fixed: np.ndarray,
    decisions: np.ndarray,
    occupancy: np.ndarray,
    supply: np.ndarray,
    globals_: np.ndarray,
) -> None:
    """Back to the start, and the first observation."""
    static, state = unpack(ints)
    reset(static, state)
    observe(static, state, fixed, decisions, occupancy, supply, globals_)


@njit(cache=True)
def advance(
    ints: np.ndarray,
    fixed: np.ndarray,
    action: int,
    decisions: np.ndarray,
    occupancy: np.ndarray,
    supply: np.ndarray,
    globals_: np.ndarray,
) -> int:
    """Takes a legal action and observes; returns the time saved, ps."""
    static, state = unpack(ints)
    static, state = borrow(static), borrow(state)
    saved = step(static, state, action)
    observe(static, state, fixed, decisions, occupancy, supply, globals_)
    return int(saved)
