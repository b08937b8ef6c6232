"""Read a program once, and decide in program order: compiled, for a compiler's budgets.

Tests hold it equal to reader.py, which has the network's description.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    COPY,
    DEAD,
    DROP,
    GOES_ON,
    NO_COPY,
    OUTCOME,
    POSITION,
    REDONE,
    TIME,
    State,
    Static,
    gain,
    reset,
    step,
)
from ...envs.memory_mapping.ranges import N_LIVE, R_END, R_OFFSET, R_START, R_TOP
from ...envs.memory_mapping.rings import first_copy, first_place
from ...envs.memory_mapping.state import P_COPY_START
from ...envs.memory_mapping.stays import (
    benefits,
    crowding,
    find_stays,
    knapsack,
    previous_uses,
)
from ...methods.memory_mapping.long import LONG, NEVER, pass_dead_end, play_within, without_rewinds
from ...methods.memory_mapping.wishes import choose
from ..layers import Layer, affine, relu

# Columns of what is read of a decision.
Trait = IntEnum(
    "Trait",
    (
        "LOG_SIZE", "SIZE", "WRITES", "MAKES", "AT_START", "AT_END", "SLOW_SHARE", "SAVING_SHARE",
        "COMPUTE_SHARE", "SAVING", "TIME", "NEXT_USE", "NEXT_TIME", "REUSED", "LAST_USE", "USED",
        "MADE_BEFORE", "SUPPLY", "SUPPLY_AFTER", "DENSITY", "CROWD", "CROWD_NEXT", "FITS", "LOOPS",
        "BEFORE_LOOP", "COPY", "FUTURE", "PROGRESS", "LIVE",
    ),
    start=0,
)  # fmt: skip
# Columns of what the decisions before leave of a decision that has a choice.
Moment = IntEnum(
    "Moment",
    ("STAYS", "COPIES", "GAIN_SHARE", "GAIN", "IN_FAST", "DIRTY", "FREE", "FILLS", "COPY_LENGTH"),
    start=0,
)
TRAITS, MOMENTS = len(Trait), len(Moment)
ROUNDS = 2  # of messages
SEEN = 6  # of one round: itself, its buffer's uses before and after, its instruction, buffer, area
AREA = 16  # instructions to either side
SETTLED = 1e9  # log-odds that settle a choice
SLICE = 300  # decisions between two looks at the clock; less than a millisecond without rewinds


class Links(NamedTuple):
    """Where messages go, for D decisions on B buffers in I instructions.

    Attributes:
        before: int64 [D]; the buffer's decision before, -1 for none.
        after: int64 [D]; the one after, -1 for none.
        instr: int64 [D]; the decision's instruction, numbered without those that have none.
        buffer: int64 [D].
        low: int64 [I]; the first instruction of each one's area.
        high: int64 [I]; one after the last.
        buffers: B.
    """

    before: np.ndarray
    after: np.ndarray
    instr: np.ndarray
    buffer: np.ndarray
    low: np.ndarray
    high: np.ndarray
    buffers: int


class Notes(NamedTuple):
    """What was seen and chosen in a play of D decisions.

    Attributes:
        wishes: int8 [D]; 1 for fast memory.
        chosen: int8 [D]; 1 where there was a choice.
        odds: float64 [D]; the policy's log-odds of fast memory, where there was a choice.
        moments: float32 [D, MOMENTS]; what the decisions before left, where there was a choice.
    """

    wishes: np.ndarray
    chosen: np.ndarray
    odds: np.ndarray
    moments: np.ndarray


def make_notes(count: int) -> Notes:
    """Allocate the notes of a play of `count` decisions."""
    return Notes(
        np.zeros(count, np.int8),
        np.zeros(count, np.int8),
        np.zeros(count),
        np.zeros((count, MOMENTS), np.float32),
    )


class Weights(NamedTuple):
    """The layers of ProgramReader; see there."""

    embed: Layer
    first: Layer
    second: Layer
    hidden: Layer
    score: Layer


@njit(cache=True, inline="always")
def _part(amount: float, whole: float) -> float:
    """Amount / whole within 0..1; 0 where the whole is nothing."""
    return min(1.0, max(0.0, amount / whole)) if whole > 0 else 0.0


@njit(cache=True, inline="always")
def _squash(amount: float, whole: float) -> float:
    """0..infinity to 0..1; amounts like the whole to one half, and all to 1 if that is nothing."""
    amount = max(0.0, amount)
    return amount / (amount + whole) if whole > 0 else 1.0


@njit(cache=True)
def links_of(static: Static) -> Links:
    """Return where messages go in a program."""
    count = len(static.dec_instr)
    before = previous_uses(static)
    after = np.where(static.dec_next < count, static.dec_next, -1)
    instr = np.zeros(count, np.int64)
    for d in range(1, count):
        instr[d] = instr[d - 1] + (static.dec_instr[d] != static.dec_instr[d - 1])
    own = instr[-1] + 1
    low, high = np.zeros(own, np.int64), np.zeros(own, np.int64)
    for i in range(own):
        low[i], high[i] = max(0, i - AREA), min(own, i + AREA + 1)
    return Links(before, after, instr, static.dec_buffer, low, high, len(static.buf_size))


@njit(cache=True)
def traits_of(static: Static) -> np.ndarray:
    """Return what is read of each decision, float32 [D, TRAITS]; ratios and logarithms alone."""
    count, instrs = len(static.dec_instr), len(static.instr_slow)
    traits = np.zeros((count, TRAITS), np.float32)
    stays, before, saves = find_stays(static), previous_uses(static), benefits(static)
    crowd, fits = crowding(static, stays), knapsack(static, stays)
    elapsed, spare = np.zeros(instrs + 1), np.zeros(instrs + 1)
    for i in range(instrs):
        time = max(static.instr_compute[i], static.instr_slow[i])
        elapsed[i + 1] = elapsed[i] + time
        spare[i + 1] = spare[i] + time - static.instr_slow[i]
    mean = elapsed[instrs] / instrs
    change = np.zeros(instrs + 1)
    for d in range(count):
        buffer, instr = static.dec_buffer[d], static.dec_instr[d]
        if before[d] < 0:
            change[instr] += static.buf_size[buffer]
        if static.dec_next[d] == count:
            change[instr + 1] -= static.buf_size[buffer]
    live = np.cumsum(change)
    order = np.argsort(stays.density, kind="mergesort")
    for place in range(count):
        traits[order[place], Trait.DENSITY] = place / max(1, count - 1)
    future = np.zeros(count)
    for d in range(count - 1, -1, -1):
        row, instr, buffer = traits[d], static.dec_instr[d], static.dec_buffer[d]
        following, size = static.dec_next[d], static.buf_size[buffer]
        time = max(static.instr_compute[instr], static.instr_slow[instr])
        copy = float(first_copy(static, d)[1])
        row[Trait.LOG_SIZE] = np.log2(size + 1.0) / 48.0
        row[Trait.SIZE] = _part(size, static.capacity)
        row[Trait.WRITES] = static.dec_writes[d]
        row[Trait.MAKES] = static.dec_makes[d]
        row[Trait.AT_START] = static.buf_at_start[buffer]
        row[Trait.AT_END] = static.buf_at_end[buffer]
        row[Trait.SLOW_SHARE] = _part(static.dec_slow[d], static.instr_slow[instr])
        row[Trait.SAVING_SHARE] = _part(saves[d], time)
        row[Trait.COMPUTE_SHARE] = _part(static.instr_compute[instr], time)
        row[Trait.SAVING] = _squash(saves[d], mean)
        row[Trait.TIME] = _squash(time, mean)
        row[Trait.CROWD] = _squash(crowd[d], 1.0)
        row[Trait.FITS] = fits[d]
        row[Trait.LOOPS] = static.dec_ring[d + 1] > static.dec_ring[d]
        ring = first_place(static.rings, static.dec_ring[d], static.dec_ring[d + 1], d)
        row[Trait.BEFORE_LOOP] = ring < static.dec_ring[d + 1]
        row[Trait.COPY] = _squash(copy, time)
        row[Trait.PROGRESS] = instr / instrs
        row[Trait.LIVE] = _squash(live[instr], static.capacity)
        future[d] = saves[d]
        if following < count:
            later = static.dec_instr[following]
            row[Trait.REUSED] = 1.0
            row[Trait.NEXT_USE] = _squash(later - instr, 8.0)
            row[Trait.NEXT_TIME] = _squash(elapsed[later] - elapsed[instr + 1], copy)
            row[Trait.SUPPLY_AFTER] = _squash(spare[later] - spare[instr], copy)
            row[Trait.CROWD_NEXT] = _squash(crowd[following], 1.0)
            future[d] += future[following]
        row[Trait.FUTURE] = _squash(future[d], copy)
        since = 0
        if before[d] >= 0:
            since = static.dec_instr[before[d]] + 1
            row[Trait.USED] = 1.0
            row[Trait.LAST_USE] = _squash(instr + 1 - since, 8.0)
            row[Trait.MADE_BEFORE] = static.dec_writes[before[d]]
        row[Trait.SUPPLY] = _squash(spare[instr] - spare[min(since, instr)], copy)
    return traits


@njit(cache=True, fastmath=True)
def read(traits: np.ndarray, links: Links, w: Weights) -> np.ndarray:
    """Return the decisions' embeddings, float32 [D, d].

    Args:
        traits: float32 [D, TRAITS].
        links: where messages go.
        w: the network.
    """
    count, d = len(traits), len(w.embed.bias)
    now, then = np.zeros((count, d), np.float32), np.zeros((count, d), np.float32)
    for row in range(count):
        affine(traits[row], TRAITS, w.embed, now[row])
        relu(now[row])
    own = len(links.low)
    by_instr, by_buffer = np.zeros((own, d), np.float32), np.zeros((links.buffers, d), np.float32)
    area = np.zeros((own, d), np.float32)
    sums = np.zeros((own + 1, d))
    in_instr, in_buffer = np.zeros(own, np.float32), np.zeros(links.buffers, np.float32)
    for row in range(count):
        in_instr[links.instr[row]] += 1
        in_buffer[links.buffer[row]] += 1
    heard = np.zeros(SEEN * d, np.float32)
    for number in range(ROUNDS):
        layer = w.first if number == 0 else w.second
        by_instr[:] = 0
        by_buffer[:] = 0
        for row in range(count):
            i, b = links.instr[row], links.buffer[row]
            for j in range(d):
                by_instr[i, j] += now[row, j]
                by_buffer[b, j] += now[row, j]
        for i in range(own):
            for j in range(d):
                by_instr[i, j] /= in_instr[i]
                sums[i + 1, j] = sums[i, j] + by_instr[i, j]
        for i in range(own):
            length = links.high[i] - links.low[i]
            for j in range(d):
                area[i, j] = (sums[links.high[i], j] - sums[links.low[i], j]) / length
        for b in range(links.buffers):
            for j in range(d):
                by_buffer[b, j] /= max(np.float32(1.0), in_buffer[b])
        for row in range(count):
            i, b = links.instr[row], links.buffer[row]
            before, after = links.before[row], links.after[row]
            for j in range(d):
                heard[j] = now[row, j]
                heard[d + j] = now[before, j] if before >= 0 else np.float32(0.0)
                heard[2 * d + j] = now[after, j] if after >= 0 else np.float32(0.0)
                heard[3 * d + j] = by_instr[i, j]
                heard[4 * d + j] = by_buffer[b, j]
                heard[5 * d + j] = area[i, j]
            affine(heard, SEEN * d, layer, then[row])
            relu(then[row])
            for j in range(d):
                then[row, j] += now[row, j]
        now, then = then, now
    return now


@njit(cache=True)
def observe_moment(static: Static, state: State, mean: float, moment: np.ndarray) -> None:
    """Write what the decisions before leave of the one at hand.

    Args:
        static: the program.
        state: the game; at a decision that has a choice.
        mean: all-slow time of an instruction on average, ps.
        moment: float32 [MOMENTS]; overwritten.
    """
    d = state.scalars[POSITION]
    instr, buffer = static.dec_instr[d], static.dec_buffer[d]
    action = NO_COPY if state.mask[NO_COPY] else COPY
    saved = float(gain(static, state, action))
    time = max(static.instr_compute[instr], state.slow[instr] + state.fast[instr])
    held = 0
    for k in range(state.counts[N_LIVE]):
        if state.rects[R_START, k] <= instr <= state.rects[R_END, k]:
            held += state.rects[R_TOP, k] - state.rects[R_OFFSET, k]
    free = max(0, static.capacity - held)
    moment[Moment.STAYS] = state.mask[NO_COPY]
    moment[Moment.COPIES] = state.mask[COPY]
    moment[Moment.GAIN_SHARE] = _part(saved, time)
    moment[Moment.GAIN] = _squash(saved, mean)
    moment[Moment.IN_FAST] = state.end[buffer] >= 0
    moment[Moment.DIRTY] = state.dirty[buffer] >= 0
    moment[Moment.FREE] = _part(free, static.capacity)
    moment[Moment.FILLS] = _part(static.buf_size[buffer], max(1, free))
    start = state.pending[P_COPY_START] if action == COPY else instr
    moment[Moment.COPY_LENGTH] = _squash(instr - start, 8.0)


@njit(cache=True, fastmath=True)
def _score(
    embedding: np.ndarray, moment: np.ndarray, w: Weights, joined: np.ndarray, hidden: np.ndarray
) -> float:
    """Return the log-odds of fast memory for a decision."""
    d = len(embedding)
    joined[:d] = embedding
    joined[d:] = moment
    affine(joined, len(joined), w.hidden, hidden)
    relu(hidden)
    odds = w.score.bias[0]
    for j in range(len(hidden)):
        odds += hidden[j] * w.score.weight[j, 0]
    return float(odds)


@njit(cache=True)
def decide(
    static: Static,
    state: State,
    embeddings: np.ndarray,
    w: Weights,
    bias: np.ndarray,
    notes: Notes,
    before: np.ndarray,
    most: int,
) -> None:
    """Decide on by the policy until about `most` decisions are made, those redone included.

    Args:
        static: the program.
        state: the game; changed in place, past dead ends.
        embeddings: float32 [D, d]; as of `read`.
        w: the network.
        bias: float64 [D]; added to the log-odds of fast memory.
        notes: gets what is seen and chosen on the way.
        before: int64 [D]; `previous_uses` of the program.
        most: decisions to make.
    """
    static, state = borrow(static), borrow(state)
    joined = np.zeros(embeddings.shape[1] + MOMENTS, np.float32)
    hidden = np.zeros(len(w.hidden.bias), np.float32)
    mean = static.all_slow / len(static.instr_slow)
    until = state.scalars[POSITION] + state.scalars[REDONE] + most
    while state.scalars[OUTCOME] == GOES_ON:
        d = state.scalars[POSITION]
        if d + state.scalars[REDONE] >= until:
            return
        wish, mask = 0, state.mask
        if mask[DROP] and (mask[NO_COPY] or mask[COPY]):
            observe_moment(static, state, mean, notes.moments[d])
            notes.odds[d] = _score(embeddings[d], notes.moments[d], w, joined, hidden)
            notes.chosen[d] = 1
            wish = int(notes.odds[d] + bias[d] > 0.0)
        action = choose(state, wish)
        notes.wishes[d] = action != DROP
        step(static, state, action)
        if state.scalars[OUTCOME] == DEAD:
            pass_dead_end(static, state, notes.wishes, before)


class Reader:
    """Plays one program again and again.

    Attributes:
        static: the program.
        state: of the last play.
        notes: of the last play.
    """

    def __init__(self, static: Static, state: State, weights: Weights) -> None:
        self.static, self.state, self._weights = static, state, weights
        self.embeddings = read(traits_of(static), links_of(static), weights)
        self.notes = make_notes(len(self.embeddings))
        self._before = previous_uses(static)

    def play_within(
        self, clock: Clock, until: float, bias: np.ndarray, must_end: bool = True
    ) -> int:
        """Play one plan by the policy until a moment.

        Args:
            clock: the run's.
            until: seconds of the clock.
            bias: float64 [D]; added to the log-odds of fast memory. Logistic noise samples from
                the policy.
            must_end: whether what is left at that moment goes to slow memory; else the plan is
                given up.

        Returns:
            The plan's time, ps; NEVER if the plan did not end.
        """
        static, state, notes = self.static, self.state, self.notes
        long = len(bias) > LONG
        played = without_rewinds(static) if long else static
        notes.wishes[:] = 0
        reset(played, state)
        while state.scalars[OUTCOME] == GOES_ON and clock.elapsed < until:
            self._decide(played, bias)
        if state.scalars[OUTCOME] == GOES_ON and not must_end:
            return NEVER
        if long:
            return play_within(static, state, notes.wishes, clock)
        slow = np.full(len(bias), -SETTLED) if state.scalars[OUTCOME] == GOES_ON else bias
        while state.scalars[OUTCOME] == GOES_ON and clock.remaining > 0:
            self._decide(static, slow)
        return int(state.scalars[TIME]) if state.scalars[OUTCOME] != GOES_ON else NEVER

    def follow(self, bias: np.ndarray) -> None:
        """Play to the end without going back at dead ends; the notes are of the decisions made.

        Args:
            bias: float64 [D]; see `play_within`. What is far from 0 settles the choice.
        """
        static = without_rewinds(self.static)
        self.notes.chosen[:] = 0
        reset(static, self.state)
        while self.state.scalars[OUTCOME] == GOES_ON:
            self._decide(static, bias)

    def _decide(self, static: Static, bias: np.ndarray) -> None:
        decide(
            static, self.state, self.embeddings, self._weights, bias, self.notes, self._before,
            SLICE,
        )  # fmt: skip
