"""Another future of a data center, for those who plan: what has come stays, the rest is drawn anew.

Requests to come are another world's of the same process; a trace's center tells the process, too.
VMs that are there, and the request in hand, leave at times drawn by their laws, longer than the
time since they came, and as what is told of them says.
"""

from __future__ import annotations

import numpy as np

from ...datasets.vm_allocation.arrivals import (
    LONGEST_LIFE_S,
    UNTOLD,
    Trace,
    draw_lives,
    draw_requests,
    tell,
)
from ...datasets.vm_allocation.instance import DataCenter, life_class
from .dynamics import AHEAD, CLOCK_S, EVENT, NO_ONE, PHASE, PLACE, State, Static, make_static

TRIES = 30  # draws of a lifetime that agrees with what is known, until the VM counts as staying


def imagine(
    center: DataCenter, static: Static, state: State, rng: np.random.Generator
) -> tuple[Static, State]:
    """Return a world in the same state that goes on otherwise.

    Args:
        center: the data center.
        static: the world.
        state: the present one; not over.
        rng: draws the future.
    """
    n = state.numbers
    is_asked, now = n[PHASE] == PLACE, int(n[CLOCK_S])
    past = slice(0, int(n[EVENT]) + int(is_asked))
    came = int(static.event_request[past].max(initial=-1)) + 1
    old = Trace(
        static.event_s[past],
        static.event_request[past],
        static.arrive_s[:came],
        static.exit_s[:came].copy(),
        static.flavor[:came],
        static.group[:came],
        static.pinned[:came],
        static.given[:came],
        static.told_s[:came],
        static.starts,
    )
    # Known of the others: they have left, or were rejected.
    there = np.flatnonzero(state.place[:came] >= 0)
    if is_asked:
        there = np.append(there, came - 1)
    old.exit_s[there] = old.arrive_s[there] + _lives_beyond(center, old, there, now, rng)
    new = _with_others(center, old, now, bool(is_asked), rng)
    new = _with_events(new, came, there, center.horizon_s)
    more = len(new.flavor) - came
    return make_static(center, new), state._replace(
        place=np.append(state.place[:came], np.full(more, AHEAD)),
        **{
            name: np.append(getattr(state, name)[:came], np.full(more, NO_ONE))
            for name in ("slot", "before", "after")
        },
    )


def _lives_beyond(
    center: DataCenter, trace: Trace, who: np.ndarray, now: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw lifetimes in seconds that end after now, int64 [n].

    Args:
        center: its laws are drawn from.
        trace: the requests that have come.
        who: some of them, int64 [n].
        now: seconds since the start.
        rng: draws.
    """
    age, told = now - trace.arrive_s[who], trace.told_s[who]
    lives = np.where(told == UNTOLD, LONGEST_LIFE_S, np.maximum(told, age + 1))
    left = np.arange(len(who))
    for _ in range(TRIES):
        some = who[left]
        if center.lifetimes == "predicted":
            errors = rng.normal(size=len(some))
            drawn = np.rint(told[left] * np.exp(-center.prediction_sigma * errors))
            fits = drawn > age[left]
        else:
            drawn = draw_lives(center, trace.flavor[some], some < trace.starts, rng)
            fits = drawn > age[left]
            if center.lifetimes == "class":
                fits &= life_class(drawn) == life_class(told[left])
        lives[left[fits]] = drawn[fits]
        left = left[~fits]
    return lives


def _with_others(
    center: DataCenter, old: Trace, now: int, is_asked: bool, rng: np.random.Generator
) -> Trace:
    """Return the requests that have come with others after them; events are the old ones.

    Args:
        center: its process is drawn from.
        old: the requests that have come.
        now: seconds since the start.
        is_asked: whether the last of them is in hand; more of its batch may come with it.
        rng: draws.
    """
    world = int(rng.integers(2**32))
    drawn = draw_requests(center, world)
    later = (drawn.arrive_s > now) & (np.arange(len(drawn.flavor)) >= drawn.starts)
    group = np.where(drawn.group >= 0, drawn.group + old.group.max(initial=-1) + 1, -1)
    more = int(rng.geometric(1.0 / center.batch_mean)) - 1 if is_asked else 0
    if more and old.group[-1] >= 0:
        more = min(more, center.n_pms - int((old.group == old.group[-1]).sum()))
    batch = np.repeat(old.flavor[-1:], more)
    lives = np.concatenate([
        draw_lives(center, batch, np.zeros(more, np.bool_), rng),
        (drawn.exit_s - drawn.arrive_s)[later],
    ])  # fmt: skip
    arrive = np.concatenate([np.full(more, now), drawn.arrive_s[later]])
    pinned = np.concatenate([rng.random(more) < center.pinned_share, drawn.pinned[later]])
    return old._replace(
        arrive_s=np.append(old.arrive_s, arrive),
        exit_s=np.append(old.exit_s, arrive + lives),
        flavor=np.concatenate([old.flavor, batch, drawn.flavor[later]]),
        group=np.concatenate([old.group, np.repeat(old.group[-1:], more), group[later]]),
        pinned=np.append(old.pinned, pinned),
        place=np.append(old.place, np.full(len(lives), -1)),
        told_s=np.append(old.told_s, tell(center, lives, world)),
    )


def _with_events(trace: Trace, came: int, there: np.ndarray, horizon_s: int) -> Trace:
    """Return requests with the events to come after those that have been.

    Args:
        trace: requests, and the events so far.
        came: how many of the requests have come.
        there: which of those will leave, int64 [n].
        horizon_s: what happens later is left out.
    """
    new = np.arange(came, len(trace.flavor))
    request = np.concatenate([there, new, new])
    is_arrival = np.repeat([0, 1], [len(there) + len(new), len(new)])
    times = np.where(is_arrival, trace.arrive_s[request], trace.exit_s[request])
    # Where times are equal, exits come first, as in arrivals.py.
    order = np.lexsort((request, is_arrival, times))
    order = order[times[order] <= horizon_s]
    return trace._replace(
        event_s=np.append(trace.event_s, times[order]),
        event_request=np.append(trace.event_request, request[order]),
    )
