"""What an agent sees: the decisions ahead, the picture of occupied addresses, and the idle time
that copies can have.

All rows are ratios or logarithms, so that they mean the same in programs of any size.
"""

from __future__ import annotations

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
from .stays import benefits, crowding, find_stays, knapsack

DECISION_FEATURES = (
    "present", "size", "log_size", "writes", "makes", "at_start", "at_end", "slow_share",
    "saving_share", "compute_share", "log_time", "next_use", "reused", "future_benefit",
    "copy_share", "same_instruction", "same_buffer", "in_fast", "held", "slow_valid", "dirty",
    "forced", "density", "crowd", "crowd_next", "fits",
    "left", "left_fits",
)  # fmt: skip
GLOBAL_FEATURES = (
    "progress", "saved", "time_left", "free", "largest_gap", "rewinds", "log_decisions",
    "log_capacity",
)  # fmt: skip
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
    fixed[np.argsort(stays.density, kind="mergesort"), 22] = np.linspace(0.0, 1.0, count)
    for d in range(count - 1, -1, -1):
        instr, buffer, following = static.dec_instr[d], static.dec_buffer[d], static.dec_next[d]
        row = fixed[d]
        row[0] = 1.0
        row[1] = _part(static.buf_size[buffer], static.capacity)
        row[2] = np.log2(static.buf_size[buffer] + 1.0) / 48.0
        row[3] = static.dec_writes[d]
        row[4] = static.dec_makes[d]
        row[5] = static.buf_at_start[buffer]
        row[6] = static.buf_at_end[buffer]
        row[7] = _part(static.dec_slow[d], static.instr_slow[instr])
        row[23] = _squash(crowd[d])
        row[25] = fits[d]
        left += saves[d]
        left_fits += saves[d] * fits[d]
        row[26] = _part(left, static.all_slow)
        row[27] = _part(left_fits, static.all_slow)
        benefit[d] = max(0, static.dec_slow[d] - static.dec_fast[d])
        if following < count:
            row[11] = _squash(0.125 * (static.dec_instr[following] - instr))
            row[12] = 1.0
            row[24] = _squash(crowd[following])
            benefit[d] += benefit[following]
        row[13] = _squash(benefit[d] / max(1.0, float(static.buf_copy[buffer])))
    return fixed


@njit(cache=True, inline="always")
def _write_decision(static: Static, state: State, row: np.ndarray, d: int, now: int) -> None:
    """The features of one decision that decisions change."""
    instr, buffer = static.dec_instr[d], static.dec_buffer[d]
    compute, current = static.instr_compute[instr], static.dec_instr[now]
    busy = state.slow[instr] + state.fast[instr]
    time = max(compute, busy)
    after = max(compute, busy - static.dec_slow[d] + static.dec_fast[d])
    row[8] = _part(time - after, time)
    row[9] = _part(compute, time)
    row[10] = np.log2(time + 1.0) / 64.0
    row[14] = _squash(static.buf_copy[buffer] / (time + 1.0))
    row[15] = instr == current
    row[16] = buffer == static.dec_buffer[now]
    end = state.end[buffer]
    row[17] = end >= 0
    row[18] = _squash(0.125 * max(0, end + 1 - current))
    row[19] = state.valid[buffer] <= current
    row[20] = state.dirty[buffer] >= 0
    row[21] = state.forced[d]


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
    globals_[0] = _part(position, count)
    globals_[1] = _part(static.all_slow - state.scalars[TIME], static.all_slow)
    globals_[5] = _squash(0.1 * state.scalars[REWINDS])
    globals_[6] = np.log2(count + 1.0) / 20.0
    globals_[7] = np.log2(static.capacity + 1.0) / 48.0
    if position == count or state.scalars[OUTCOME] != 0:
        return
    ahead = min(len(decisions), count - position)
    decisions[:ahead] = fixed[position : position + ahead]
    for row in range(ahead):
        _write_decision(static, state, decisions[row], position + row, position)
    current = static.dec_instr[position]
    held = _draw_occupancy(static, state, occupancy, current)
    need = float(static.buf_copy[static.dec_buffer[position]])
    total = 0.0
    for back in range(min(SUPPLY, current)):
        total += idle(static, state, current - 1 - back)
        supply[back] = _squash(total / need)
    globals_[2] = 1.0 - _part(current, len(static.instr_slow))
    globals_[3] = 1.0 - _part(held, static.capacity)
    globals_[4] = _part(_largest_gap(static, state, current), static.capacity)
