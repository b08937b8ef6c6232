"""Beam search over decisions, with beams that widen until the budget ends."""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    COPY,
    DROP,
    NO_COPY,
    POSITION,
    TIME,
    State,
    Static,
    reset,
    step,
)
from ...envs.memory_mapping.packed import pack, state_in, unpack
from ...envs.memory_mapping.stays import benefits
from ...methods.memory_mapping import greedy
from ...methods.memory_mapping.best import Best

MAX_WIDTH = 256
# Discount, from each next use to the following one, of the time that a buffer in fast memory saves.
HOPES = (0.5, 0.9, 0.2)
AHEAD = 3  # next uses counted
BEHIND = 4096  # last decisions whose next uses are counted
MOST_BYTES = 2**30  # of all states; wider beams are left out
STATES_A_LOOK = 16  # states expanded between two looks at the clock, at least a layer


def solve(instance: Program, budget: Budget, seed: int) -> Solution:
    """Plan by beam search with widths 1, 2, 4, ..., each with every discount of HOPES.

    States of equal score and equal contents of fast memory count as one. Greedy plans come first.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one state expanded, or one greedy plan.
        seed: not used; nothing is random.
    """
    clock = budget.start()
    best = Best(instance, clock)
    greedy.search(best)
    if clock.expired:
        return clock.solution(best.plan)
    saves, packed = benefits(best.static), pack(best.static)
    width = 1
    while not clock.expired and width <= MAX_WIDTH and 3 * width * packed.nbytes <= MOST_BYTES:
        rows = np.stack([packed] * (3 * width))
        for hope in HOPES:
            if not _pass(best, rows, width, saves, hope):
                break
        width *= 2
    return clock.solution(best.plan)


def _pass(best: Best, rows: np.ndarray, width: int, saves: np.ndarray, hope: float) -> bool:
    """Run the beam from the first decision to the last; return False if the clock ended it.

    Args:
        best: the program, and where complete plans go.
        rows: packed states int64 [3 * width, n], overwritten.
        width: of the beam.
        saves: int64 [D]; as of `benefits`, ps.
        hope: see HOPES.
    """
    reset(best.static, state_in(rows[0]))
    count = len(best.plan)
    alive = 1
    scores = np.zeros(2 * width)
    stride = max(1, STATES_A_LOOK // width)
    for first in range(0, count, stride):
        if best.clock.expired:
            return False
        layers = min(stride, count - first)
        alive, expanded = _layers(best.static, rows, scores, alive, width, layers, saves, hope)
        best.clock.evaluations += expanded
    for row in rows[:alive]:
        state = state_in(row)
        best.take(int(state.scalars[TIME]), state.actions)
    return True


@njit(cache=True)
def _expected_time(
    static: Static, state: State, saves: np.ndarray, hope: float
) -> tuple[float, float]:
    """Estimate a state's final time, discounting the time that later uses of fast memory save.

    Args:
        static: the program.
        state: the state.
        saves: int64 [D]; as of `benefits`, ps.
        hope: see HOPES.

    Returns:
        The estimate, ps, and a number that tells different contents of fast memory apart.
    """
    at = state.scalars[POSITION]
    count = len(saves)
    expected, mark = float(state.scalars[TIME]), 0.0
    if at == count:
        return expected, 0.0
    instr = static.dec_instr[at]
    for back in range(at - 1, max(-1, at - 1 - BEHIND), -1):
        d = static.dec_next[back]
        if d < at or d == count:
            continue
        buffer = static.dec_buffer[back]
        if state.end[buffer] < 0 or state.end[buffer] < static.dec_instr[back]:
            continue
        mark += (1 + buffer) * 0.6180339887 * (1 + state.offset[buffer])
        soon = 1.0
        for _ in range(AHEAD):
            if d == count:
                break
            soon *= hope
            expected -= soon * saves[d] / (1.0 + 0.02 * (static.dec_instr[d] - instr))
            d = static.dec_next[d]
    return expected, mark


@njit(cache=True)
def _layers(
    static: Static,
    rows: np.ndarray,
    scores: np.ndarray,
    alive: int,
    width: int,
    layers: int,
    saves: np.ndarray,
    hope: float,
) -> tuple[int, int]:
    """Take `layers` decisions in every state of the beam, keeping the best states after each.

    Args:
        static: the program.
        rows: packed states: the beam in the first `width`, then room for its children.
        scores: float64 [2 * width], overwritten.
        alive: states in the beam.
        width: most states kept.
        layers: decisions to take.
        saves: int64 [D]; as of `benefits`, ps.
        hope: see HOPES.

    Returns:
        States in the beam now, and how many were expanded.
    """
    static = borrow(static)
    expanded = 0
    marks = np.zeros(len(scores))
    room = rows[width:]
    for _ in range(layers):
        children = 0
        for row in range(alive):
            mask = unpack(rows[row])[1].mask
            expanded += 1
            fast = NO_COPY if mask[NO_COPY] else COPY
            for action in (fast, DROP):
                if not mask[action]:
                    continue
                room[children] = rows[row]
                state = unpack(room[children])[1]
                step(static, state, action)
                scores[children], marks[children] = _expected_time(static, state, saves, hope)
                children += 1
        alive = 0
        order = np.argsort(scores[:children], kind="mergesort")
        for k in range(children):
            child = order[k]
            twin = False
            for other in range(max(0, k - 4), k):
                same = scores[order[other]] == scores[child]
                twin = twin or (same and marks[order[other]] == marks[child])
            if not twin:
                rows[alive] = room[child]
                alive += 1
            if alive == width:
                break
    return alive, expanded
