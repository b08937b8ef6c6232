"""Local search over wishes: change a few uses, play on, and accept what is hardly worse.

Plays start from the nearest of several saved states before the first change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    DEAD,
    DROP,
    GOES_ON,
    OUTCOME,
    POSITION,
    REWINDS,
    TIME,
    State,
    Static,
    reset,
    restore_state,
    step,
)
from ...envs.memory_mapping.packed import pack, unpack
from . import threshold
from .best import Best
from .long import LONG, NEVER, without_rewinds
from .wishes import choose, wishes_of

START_SHARE = 0.25  # share of the seconds for the threshold sweep
GIVEN_START_SHARE = 0.05  # the same if plans to start from are given
RACE_SHARE = 0.4  # share of the time for choosing among several starts
GUIDED = 0.65  # share of the changes that a guide places
CROSSED = 0.1  # share of the winner's changes that take over a part of another search's plan
MOST_CROSSED = 64  # decisions that such a change takes over
MARKS, FEW_MARKS = 16, 4  # saved states along the plan; along a long one
SLOWING = 0.7  # least ratio of the pace expected to that of the round before
PLAY_S = 1e-6  # most seconds that a play takes, for each decision of the plan
SETUP_S = 4e-6  # the same of the saved states
ROUND_S = 0.004  # seconds between looks at the clock
LEFT = 0.5  # of the seconds left, before the next look: plays do not all take as long
MOST_PLAYS = 4096  # between two looks at the clock
HEATS = (0.0, 3e-4, 1e-4, 1e-3, 3e-5)  # temperature of each round, as a share of the all-slow time
PERIOD = 1500  # plays in a round; the next begins from the best plan


# Worth, float64 [D], of changing each decision of a plan; see `improve`.
Guide = Callable[[np.ndarray], np.ndarray]


def search(
    instance: Program,
    clock: Clock,
    seed: int,
    starts: Sequence[np.ndarray] | None = None,
    guide: Guide | None = None,
) -> Solution:
    """Plan by local search from the best of a threshold sweep.

    Args:
        instance: the program, of D decisions.
        clock: not yet spent; ends the search. One evaluation is one plan played.
        seed: draws the changes.
        starts: wishes to start from, int8 [D] each, besides; the sweep is then shorter.
        guide: returns weights, float64 [D], of where changing a plan int64 [D] is likely to help.

    Returns:
        The best plan found.
    """
    best = Best(instance, clock)
    share = START_SHARE if starts is None else GIVEN_START_SHARE
    threshold.search(best, share * clock.budget.seconds, coarse=True)
    improve(best, seed, starts=starts or (), guide=guide)
    return clock.solution(best.plan)


@dataclass(slots=True)
class _Trail:
    """A local search that can be continued.

    Attributes:
        plan: int64 [D]; the best plan of this search.
        time: of the plan, ps.
        played: changes tried so far.
    """

    plan: np.ndarray
    time: int
    played: int = 0


def improve(
    best: Best,
    seed: int,
    share: float = 1.0,
    starts: Sequence[np.ndarray] = (),
    guide: Guide | None = None,
    rewinds: bool = True,
) -> None:
    """Improve the best plan until the clock ends or a share of the budget is spent on it.

    With further starts, searches from all of them race by successive halving (Karnin et al. 2013)
    for RACE_SHARE of the time; the winner has the rest, and takes parts of the others' plans over.

    Args:
        best: the best plan so far, and where better ones go.
        seed: draws the changes.
        share: of the budget's seconds and evaluations.
        starts: wishes, int8 [D] each, to start from besides the best plan.
        guide: returns weights, float64 [D], of where a share GUIDED of the changes to a plan begin;
            the plan, int64 [D], has no rewinds.
        rewinds: whether changes that lead to dead ends are played on after going back, which takes
            long in train steps; else they are not kept, as in programs of more than LONG decisions.
    """
    clock = best.clock
    began, seconds = clock.elapsed, share * clock.budget.seconds
    limit = clock.budget.evaluations
    most = 1 << 60
    if limit is not None:
        most = max(0, min(limit - clock.evaluations, int(share * limit)))
    first = clock.evaluations
    rng = np.random.default_rng(seed)
    trails = [_Trail(best.plan, best.time)]
    for start in starts:
        if clock.expired:
            break
        time = best.try_wishes(start)
        if time == NEVER:
            break
        plan = best.state.actions.copy()
        if not any(np.array_equal(plan, trail.plan) for trail in trails):
            trails.append(_Trail(plan, time))
    rounds = int(np.ceil(np.log2(len(trails))))
    seconds = min(seconds, began + seconds - clock.elapsed)
    everyone, none = trails, np.zeros((0, len(best.plan)), np.int8)
    for _ in range(rounds):
        part = RACE_SHARE / rounds / len(trails)
        for trail in trails:
            _follow(best, trail, rng, part * seconds, int(part * most), guide, rewinds, none)
        trails = sorted(trails, key=lambda trail: trail.time)[: -(-len(trails) // 2)]
    left = began + share * clock.budget.seconds - clock.elapsed
    losers = [wishes_of(trail.plan) for trail in everyone if trail is not trails[0]]
    most -= clock.evaluations - first
    others = np.stack(losers) if losers else none
    _follow(best, trails[0], rng, left, most, guide, rewinds, others)


def _follow(
    best: Best,
    trail: _Trail,
    rng: np.random.Generator,
    seconds: float,
    most: int,
    guide: Guide | None,
    rewinds: bool,
    others: np.ndarray,
) -> None:
    """Continue a search for `seconds` and at most `most` plays; changes take over parts of
    `others`, wishes int8 [n, D].
    """
    clock, static = best.clock, best.static
    until, last = clock.elapsed + seconds, trail.played + most
    marks, reserve = MARKS, PLAY_S * len(trail.plan)
    if min(clock.remaining, seconds) < SETUP_S * len(trail.plan) + reserve:
        return
    if len(trail.plan) > LONG:
        # Changes that lead to dead ends are not kept, as going back takes too long.
        rewinds, marks = False, FEW_MARKS
    if not rewinds:
        static = without_rewinds(static)
    rows = np.stack([pack(static)] * (2 * marks))
    plays, current, odds, time = 1, np.zeros(0, np.int8), np.zeros(0), 0
    actions = trail.plan.copy()
    pace = PLAY_S * len(trail.plan)  # seconds a play, as expected
    trial = np.zeros(len(trail.plan), np.int8)
    while (
        not clock.expired
        and clock.remaining > reserve
        and clock.elapsed <= until
        and trail.played < last
    ):
        if not len(current) or trail.played % PERIOD == 0:
            current = wishes_of(trail.plan)
            time = _save_marks(static, best.state, current, rows)
            actions[:] = best.state.actions
            if guide is not None:
                odds = np.cumsum(guide(trail.plan))
        heat = HEATS[trail.played // PERIOD % len(HEATS)] * static.all_slow
        plays = min(plays, PERIOD - trail.played % PERIOD, last - trail.played)
        before = clock.elapsed
        plan = trail.plan.copy()
        time, reached = _search(
            static, best.state, rows, current, actions, trial, time, trail.time, heat, plays, rng,
            plan, odds, others,
        )  # fmt: skip
        clock.evaluations += plays
        trail.played += plays
        if reached < trail.time:
            trail.time, trail.plan = int(reached), plan
            best.take(trail.time, plan)
        # The first plays may be of late changes, and so short: the pace falls little by little.
        pace = max((clock.elapsed - before) / plays, SLOWING * pace)
        left = LEFT * min(clock.remaining - reserve, until - clock.elapsed)
        plays = int(min(MOST_PLAYS, max(1.0, min(ROUND_S, left) / pace)))


@njit(cache=True)
def _save_marks(static: Static, state: State, wishes: np.ndarray, rows: np.ndarray) -> int:
    """Play the wishes of a plan and save states on the way, in the first half of the rows.

    Wishes that lead to a rewind are replaced by what the rewind left.

    Returns:
        The plan's time, ps.
    """
    static, state = borrow(static), borrow(state)
    count, marks = len(wishes), len(rows) // 2
    while True:
        reset(static, state)
        mark = 0
        while state.scalars[OUTCOME] == GOES_ON:
            at = state.scalars[POSITION]
            if mark < marks and at >= mark * count // marks:
                restore_state(unpack(rows[mark])[1], state)
                mark += 1
            step(static, state, choose(state, wishes[at]))
        while mark < marks:  # fewer decisions than marks
            restore_state(unpack(rows[mark])[1], unpack(rows[mark - 1])[1])
            mark += 1
        if state.scalars[REWINDS] == 0:
            return int(state.scalars[TIME])
        for d in range(count):
            wishes[d] = state.actions[d] != DROP


@njit(cache=True)
def _change_wishes(
    static: Static,
    wishes: np.ndarray,
    plan: np.ndarray,
    odds: np.ndarray,
    others: np.ndarray,
    rng: np.random.Generator,
) -> int:
    """Make a random change to the wishes.

    Args:
        static: the program.
        wishes: int8 [D], changed in place.
        plan: int64 [D]; actions of the wishes before the change.
        odds: float64 [D]; cumulated weights of where guided changes begin; empty for none.
        others: int8 [n, D]; wishes of other good plans, parts of which a change may take over.
        rng: draws the change.

    Returns:
        The first decision whose wish may differ.
    """
    count = len(wishes)
    kind = rng.random()
    d = int(rng.random() * count)
    if len(odds) and rng.random() < GUIDED:
        d = min(count - 1, int(np.searchsorted(odds, rng.random() * odds[-1], side="right")))
    if len(others) and rng.random() < CROSSED:
        other = others[int(rng.random() * len(others))]
        end = min(count, d + 1 + int(rng.random() * MOST_CROSSED))
        wishes[d:end] = other[d:end]
        return d
    if kind < 0.3:
        wishes[d] = 1 - wishes[d]
        return d
    if kind < 0.55:
        _set_run(static, wishes, d, 1 - wishes[d], rng)
        return d
    if kind < 0.9:
        # A use that is not in fast memory goes in, and some that are near it go out.
        for _ in range(8):
            if plan[d] == DROP:
                break
            d = int(rng.random() * count)
        _set_run(static, wishes, d, 1, rng)
        first = d
        reach = int(rng.random() * 30) + 2
        for _ in range(1 + int(rng.random() * 3)):
            other = d + int((rng.random() - 0.5) * 2 * reach)
            if 0 <= other < count and static.dec_buffer[other] != static.dec_buffer[d]:
                _set_run(static, wishes, other, 0, rng)
                first = min(first, other)
        return first
    length = 1 + int(rng.random() * min(count, 24))
    share = rng.random()
    for k in range(d, min(count, d + length)):
        wishes[k] = 1 if rng.random() < share else 0
    return d


@njit(cache=True)
def _set_run(
    static: Static, wishes: np.ndarray, d: int, wish: int, rng: np.random.Generator
) -> None:
    """Set the wish of use `d` and of a random number of the buffer's next uses."""
    wishes[d] = wish
    following = static.dec_next[d]
    while following < len(wishes) and rng.random() < 0.7:
        wishes[following] = wish
        following = static.dec_next[following]


@njit(cache=True)
def _search(
    static: Static,
    state: State,
    rows: np.ndarray,
    current: np.ndarray,
    actions: np.ndarray,
    trial: np.ndarray,
    time: int,
    best: int,
    heat: float,
    plays: int,
    rng: np.random.Generator,
    plan: np.ndarray,
    odds: np.ndarray,
    others: np.ndarray,
) -> tuple[int, int]:
    """Try `plays` changes.

    Args:
        static: the program.
        state: a state to play on.
        rows: packed states along the current wishes in the first half; the second half is scratch.
        current: int8 [D]; wishes, changed in place as changes are kept.
        actions: int64 [D]; their plan, likewise.
        trial: int8 [D]; scratch.
        time: of the current wishes, ps.
        best: the least time so far, ps.
        heat: temperature, ps: a change is kept if it is worse by at most this times an exponential
            draw.
        plays: number of changes.
        rng: draws the changes.
        plan: int64 [D]; overwritten by better plans.
        odds: float64 [D]; cumulated weights of where guided changes begin; empty for none.
        others: int8 [n, D]; see `_change_wishes`.

    Returns:
        The current and the best time, ps.
    """
    static, state = borrow(static), borrow(state)
    count, marks = len(current), len(rows) // 2
    for _ in range(plays):
        trial[:] = current
        first = _change_wishes(static, trial, actions, odds, others, rng)
        while first < count and trial[first] == current[first]:
            first += 1
        if first == count:
            continue
        mark = min(marks - 1, first * marks // count)
        while mark > 0 and mark * count // marks > first:
            mark -= 1
        saved = unpack(rows[mark])[1]
        restore_state(state, saved)
        next_mark = mark + 1
        while state.scalars[OUTCOME] == GOES_ON:
            at = state.scalars[POSITION]
            if next_mark < marks and at >= next_mark * count // marks:
                restore_state(unpack(rows[marks + next_mark])[1], state)
                next_mark += 1
            step(static, state, choose(state, trial[at]))
        if state.scalars[OUTCOME] == DEAD:
            continue
        reached = state.scalars[TIME]
        if reached < best:
            best = reached
            plan[:] = state.actions
        if reached > time + heat * rng.exponential():
            continue
        time = reached
        current[:] = trial
        actions[:] = state.actions
        if state.scalars[REWINDS] == 0:
            for row in range(mark + 1, next_mark):
                restore_state(unpack(rows[row])[1], unpack(rows[marks + row])[1])
        else:
            for d in range(count):
                current[d] = state.actions[d] != DROP
            time = _save_marks(static, state, current, rows)
    return int(time), int(best)
