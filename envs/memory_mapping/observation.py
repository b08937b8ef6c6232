"""What an agent sees: the decisions ahead, the picture of occupied addresses, and the idle time
that copies can have.

All rows are ratios or logarithms, so that they mean the same in programs of any size.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from gymnasium import spaces
from numba import njit

from ..borrowed import borrow
from .dynamics import (
    OUTCOME,
    POSITION,
    REWINDS,
    TIME,
    State,
    Static,
    idle,
)
from .ranges import KEPT, N_LIVE, R_END, R_OFFSET, R_START, R_TOP
from .rings import first_copy
from .stays import benefits, crowding, find_stays, knapsack

# Columns of a decision's row.
Decision = IntEnum(
    "Decision",
    (
        "PRESENT", "SIZE", "LOG_SIZE", "WRITES", "MAKES", "AT_START", "AT_END", "SLOW_SHARE",
        "SAVING_SHARE", "COMPUTE_SHARE", "LOG_TIME", "NEXT_USE", "REUSED", "FUTURE_BENEFIT",
        "COPY_SHARE", "SAME_INSTRUCTION", "SAME_BUFFER", "IN_FAST", "HELD", "SLOW_VALID", "DIRTY",
        "FORCED", "DENSITY", "CROWD", "CROWD_NEXT", "FITS", "LEFT", "LEFT_FITS",
    ),
    start=0,
)  # fmt: skip
# Entries of the features of the whole.
Global = IntEnum(
    "Global",
    (
        "PROGRESS", "SAVED", "TIME_LEFT", "FREE", "LARGEST_GAP", "REWINDS", "LOG_DECISIONS",
        "LOG_CAPACITY",
    ),
    start=0,
)  # fmt: skip
DECISION_FEATURES, GLOBAL_FEATURES = (
    tuple(column.name.lower() for column in columns) for columns in (Decision, Global)
)
WINDOW = 32
# Instructions of the picture before the current one, whose ranges are in front, and from it on.
PAST, AHEAD = KEPT, 8
BINS = 32
SUPPLY = 24


def observation_space(window: int) -> spaces.Dict:
    """The space of observations with so many decisions ahead."""

    def box(*shape: int) -> spaces.Box:
        return spaces.Box(0.0, 1.0, shape, np.float32)

    return spaces.Dict(
        {
            "decisions": box(window, len(DECISION_FEATURES)),
            "occupancy": box(PAST + AHEAD, BINS),
            "supply": box(SUPPLY),
            "globals": box(len(GLOBAL_FEATURES)),
            "action_mask": spaces.Box(0, 1, (3,), np.int8),
        }
    )


@njit(cache=True, inline="always")
def _part(amount: float, whole: float) -> float:
    """Amount / whole within 0..1; 0 where the whole is nothing."""
    return min(1.0, max(0.0, amount / whole)) if whole > 0 else 0.0


@njit(cache=True, inline="always")
def _squash(ratio: float) -> float:
    """0..infinity to 0..1; 1 goes to one half."""
    return ratio / (1.0 + ratio)


@njit(cache=True)
def fixed_features(static: Static) -> np.ndarray:
    """float32 [D, 28]: what of the decisions' features no decision changes; 0 in other columns.

    future_benefit is the slow memory's time that this and the buffer's later decisions would save,
    against a copy's. density is the part of all stays (see stays.py) that are less dense, crowd how
    much denser ones want of fast memory meanwhile, crowd_next the same of the buffer's next stay;
    fits says whether a knapsack of stays has room for it. left is the time that all uses from here
    on would save, left_fits that of those which fit, as parts of the all-slow time.
    """
    count = len(static.dec_instr)
    fixed = np.zeros((count, len(DECISION_FEATURES)), np.float32)
    benefit = np.zeros(count)
    stays = find_stays(static)
    crowd, fits, saves = crowding(static, stays), knapsack(static, stays), benefits(static)
    left, left_fits = 0.0, 0.0
    fixed[np.argsort(stays.density, kind="mergesort"), Decision.DENSITY] = np.linspace(
        0.0, 1.0, count
    )
    for d in range(count - 1, -1, -1):
        instr, buffer, following = static.dec_instr[d], static.dec_buffer[d], static.dec_next[d]
        row = fixed[d]
        row[Decision.PRESENT] = 1.0
        row[Decision.SIZE] = _part(static.buf_size[buffer], static.capacity)
        row[Decision.LOG_SIZE] = np.log2(static.buf_size[buffer] + 1.0) / 48.0
        row[Decision.WRITES] = static.dec_writes[d]
        row[Decision.MAKES] = static.dec_makes[d]
        row[Decision.AT_START] = static.buf_at_start[buffer]
        row[Decision.AT_END] = static.buf_at_end[buffer]
        row[Decision.SLOW_SHARE] = _part(static.dec_slow[d], static.instr_slow[instr])
        row[Decision.CROWD] = _squash(crowd[d])
        row[Decision.FITS] = fits[d]
        left += saves[d]
        left_fits += saves[d] * fits[d]
        row[Decision.LEFT] = _part(left, static.all_slow)
        row[Decision.LEFT_FITS] = _part(left_fits, static.all_slow)
        benefit[d] = max(0, static.dec_slow[d] - static.dec_fast[d])
        if following < count:
            row[Decision.NEXT_USE] = _squash(0.125 * (static.dec_instr[following] - instr))
            row[Decision.REUSED] = 1.0
            row[Decision.CROWD_NEXT] = _squash(crowd[following])
            benefit[d] += benefit[following]
        row[Decision.FUTURE_BENEFIT] = _squash(
            benefit[d] / max(1.0, float(first_copy(static, d)[1]))
        )
    return fixed


@njit(cache=True, inline="always")
def _write_decision(static: Static, state: State, row: np.ndarray, d: int, now: int) -> None:
    """The features of one decision that decisions change."""
    instr, buffer = static.dec_instr[d], static.dec_buffer[d]
    compute, current = static.instr_compute[instr], static.dec_instr[now]
    busy = state.slow[instr] + state.fast[instr]
    time = max(compute, busy)
    after = max(compute, busy - static.dec_slow[d] + static.dec_fast[d])
    row[Decision.SAVING_SHARE] = _part(time - after, time)
    row[Decision.COMPUTE_SHARE] = _part(compute, time)
    row[Decision.LOG_TIME] = np.log2(time + 1.0) / 64.0
    row[Decision.COPY_SHARE] = _squash(first_copy(static, d)[1] / (time + 1.0))
    row[Decision.SAME_INSTRUCTION] = instr == current
    row[Decision.SAME_BUFFER] = buffer == static.dec_buffer[now]
    end = state.end[buffer]
    row[Decision.IN_FAST] = end >= 0
    row[Decision.HELD] = _squash(0.125 * max(0, end + 1 - current))
    row[Decision.SLOW_VALID] = state.valid[buffer] <= current
    row[Decision.DIRTY] = state.dirty[buffer] >= 0
    row[Decision.FORCED] = state.forced[d]


@njit(cache=True)
def _draw_occupancy(static: Static, state: State, image: np.ndarray, current: int) -> int:
    """Fills the picture: of each instruction, the part of each bin of addresses that is held.
    Returns the bytes held at the current instruction.
    """
    rects = state.rects
    scale = BINS / static.capacity
    first = current - PAST
    held = 0
    for k in range(state.counts[N_LIVE]):
        start, end = rects[R_START, k], rects[R_END, k]
        if end < first or start >= current + AHEAD:
            continue
        if start <= current <= end:
            held += rects[R_TOP, k] - rects[R_OFFSET, k]
        low, top = rects[R_OFFSET, k] * scale, rects[R_TOP, k] * scale
        early, late = max(0, start - first), min(PAST + AHEAD - 1, end - first)
        for bin_ in range(int(low), min(BINS, int(np.ceil(top)))):
            part = np.float32(min(top, bin_ + 1.0) - max(low, float(bin_)))
            for column in range(early, late + 1):
                image[column, bin_] = min(np.float32(1.0), image[column, bin_] + part)
    return int(held)


@njit(cache=True)
def _largest_gap(static: Static, state: State, current: int) -> int:
    """The largest range of addresses that nothing holds from the current instruction on."""
    rects, low, gap = state.rects, 0, 0
    for k in range(state.counts[N_LIVE]):
        if rects[R_END, k] >= current:
            gap = max(gap, rects[R_OFFSET, k] - low)
            low = max(low, rects[R_TOP, k])
    return int(max(gap, static.capacity - low))


@njit(cache=True)
def observe(
    static: Static,
    state: State,
    fixed: np.ndarray,
    decisions: np.ndarray,
    occupancy: np.ndarray,
    supply: np.ndarray,
    globals_: np.ndarray,
) -> None:
    """Fills the arrays of an observation, float32; `fixed` is `fixed_features(static)`."""
    static, state = borrow(static), borrow(state)
    decisions[:] = 0
    occupancy[:] = 0
    supply[:] = 0
    globals_[:] = 0
    count, position = len(static.dec_instr), state.scalars[POSITION]
    globals_[Global.PROGRESS] = _part(position, count)
    globals_[Global.SAVED] = _part(static.all_slow - state.scalars[TIME], static.all_slow)
    globals_[Global.REWINDS] = _squash(0.1 * state.scalars[REWINDS])
    globals_[Global.LOG_DECISIONS] = np.log2(count + 1.0) / 20.0
    globals_[Global.LOG_CAPACITY] = np.log2(static.capacity + 1.0) / 48.0
    if position == count or state.scalars[OUTCOME] != 0:
        return
    ahead = min(len(decisions), count - position)
    decisions[:ahead] = fixed[position : position + ahead]
    for row in range(ahead):
        _write_decision(static, state, decisions[row], position + row, position)
    current = static.dec_instr[position]
    held = _draw_occupancy(static, state, occupancy, current)
    before, need = first_copy(static, position)
    total = 0.0
    for back in range(min(SUPPLY, before)):
        total += idle(static, state, before - 1 - back)
        supply[back] = _squash(total / need)
    globals_[Global.TIME_LEFT] = 1.0 - _part(current, len(static.instr_slow))
    globals_[Global.FREE] = 1.0 - _part(held, static.capacity)
    globals_[Global.LARGEST_GAP] = _part(_largest_gap(static, state, current), static.capacity)
