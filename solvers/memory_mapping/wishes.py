"""Plans by wishes: which uses should be in fast memory, played out by the game's rules. Uses numpy
and numba.

Where a use is legal in fast memory at all, one action puts it there: NoCopy for what is there or is
being made, Copy for the rest. A plan is therefore one bit a decision. A wish that is not legal
where it stands falls back to the other choice, so every vector of wishes plays out to a plan.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...datasets.memory_mapping.instance import Program
from ...envs.borrowed import borrow
from ...envs.memory_mapping.dynamics import (
    BACKUP,
    COPY,
    DROP,
    GOES_ON,
    NO_COPY,
    OUTCOME,
    POSITION,
    TERMINATE,
    TIME,
    State,
    Static,
    make_state,
    make_static,
    reset,
    step,
)


def planning_static(program: Program) -> Static:
    """The program's arrays, with dead ends backed up from.

    The actions that a rewind leaves meet no dead end, so they are a plan under policy terminate
    too.
    """
    static = make_static(program)
    return static._replace(dead_end=BACKUP) if static.dead_end == TERMINATE else static


class Best:
    """The best plan so far, and the state that plays wishes out.

    Attributes:
        static: the program.
        state: overwritten by every plan.
        plan: int64 [D]; legal actions.
        time: the plan's, ps.
    """

    def __init__(self, program: Program, clock: Clock) -> None:
        self.static = planning_static(program)
        self.state = make_state(self.static)
        self.clock = clock
        self.plan = np.full(len(self.static.dec_instr), DROP, np.int64)
        self.time = self.static.all_slow
        clock.incumbent(self.plan)

    @property
    def wishes(self) -> np.ndarray:
        """The plan as wishes, int8 [D]."""
        return (self.plan != DROP).astype(np.int8)

    def try_wishes(self, wishes: np.ndarray) -> int:
        """Plays the wishes out, keeps them if they are the best; returns their time, ps."""
        time = play_wishes(self.static, self.state, wishes)
        self.clock.evaluations += 1
        self.take(time, self.state.actions)
        return int(time)

    def take(self, time: int, plan: np.ndarray) -> None:
        """Keeps a legal plan if it is the best."""
        if time < self.time:
            self.time, self.plan = int(time), plan.copy()
            self.clock.incumbent(self.plan)

    def speedup_of(self, time: float) -> float:
        """The objective of a plan of this time, ps."""
        return self.static.all_slow / time if time else 1.0


@njit(cache=True, inline="always")
def choose(state: State, wish: int) -> int:
    """The action that a wish comes to at POSITION."""
    if state.mask[DROP] and not wish:
        return DROP
    if state.mask[NO_COPY]:
        return NO_COPY
    if state.mask[COPY]:
        return COPY
    return DROP


@njit(cache=True)
def play_wishes(static: Static, state: State, wishes: np.ndarray) -> int:
    """Plays wishes [D] from the start; returns the time, ps. `state.actions` is the plan."""
    static, state = borrow(static), borrow(state)
    reset(static, state)
    while state.scalars[OUTCOME] == GOES_ON:
        step(static, state, choose(state, wishes[state.scalars[POSITION]]))
    return int(state.scalars[TIME])


@njit(cache=True)
def benefits(static: Static) -> np.ndarray:
    """int64 [D]; time that each use alone in fast memory saves its instruction, ps."""
    saved = np.zeros(len(static.dec_instr), np.int64)
    for d in range(len(saved)):
        instr = static.dec_instr[d]
        slow, compute = static.instr_slow[instr], static.instr_compute[instr]
        after = slow - static.dec_slow[d] + static.dec_fast[d]
        saved[d] = max(compute, slow) - max(compute, after)
    return saved


def previous_uses(static: Static) -> np.ndarray:
    """int64 [D]; the buffer's decision before each, -1 for none."""
    before = np.full(len(static.dec_instr), -1, np.int64)
    linked = np.flatnonzero(static.dec_next < len(before))
    before[static.dec_next[linked]] = linked
    return before
