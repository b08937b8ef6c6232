"""The best plan found so far, for the methods that play wishes out to plans."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...core.budget import Clock
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import (
    DROP,
    GOES_ON,
    OUTCOME,
    TIME,
    State,
    Static,
    make_state,
    reset,
)
from ...envs.memory_mapping.static import planning_static
from ...envs.memory_mapping.stays import previous_uses
from .long import LONG, NEVER, SLICE, play_within, seconds_after_pass, without_rewinds
from .wishes import wishes_of


class Best:
    """The best plan so far, and the state that plays wishes out.

    Args:
        program: the program.
        clock: counts evaluations (plans played) and records incumbents.
        static: `planning_static` of the program, where it has been made already.

    Attributes:
        static: the program as arrays.
        state: overwritten by every plan.
        plan: int64 [D]; legal actions.
        time: the plan's, ps.
    """

    def __init__(self, program: Program, clock: Clock, static: Static | None = None) -> None:
        self.static = planning_static(program) if static is None else static
        self.state = make_state(self.static)
        self.clock = clock
        self.plan = np.full(len(self.static.dec_instr), DROP, np.int64)
        self.time = self.static.all_slow
        clock.incumbent(self.plan)

    @property
    def wishes(self) -> np.ndarray:
        """Wishes, int8 [D], that lead to the plan."""
        return wishes_of(self.plan)

    def try_wishes(self, wishes: np.ndarray) -> int:
        """Play wishes, int8 [D], out; keep the plan if it is the best, and return its time, ps.

        The time is NEVER if the seconds end first.
        """
        time = play_within(self.static, self.state, wishes, self.clock)
        self.clock.evaluations += 1
        if time < NEVER:
            self.take(time, self.state.actions)
        return time

    def take(self, time: int, plan: np.ndarray) -> None:
        """Keep a legal plan if it is the best.

        Args:
            time: of the plan, ps.
            plan: int64 [D]; copied if kept.
        """
        if time < self.time:
            self.time, self.plan = int(time), plan.copy()
            self.clock.incumbent(self.plan)

    def speedup_of(self, time: float) -> float:
        """Convert a plan's time, ps, to the objective, the speed-up over the all-slow plan."""
        return self.static.all_slow / time if time else 1.0

    def try_slices(
        self, play: Callable[[Static, State, np.ndarray, np.ndarray, int], None]
    ) -> None:
        """Play a plan slice by slice while there are seconds left; keep it if it is the best.

        Args:
            play: given the program, the state, wishes int8 [D], `previous_uses` of the program and
                a number of decisions, plays on by about so many, past dead ends, and notes wishes.
        """
        static, state, clock = self.static, self.state, self.clock
        long = len(self.plan) > LONG
        if long:
            static = without_rewinds(static)
        wishes, before = np.zeros(len(self.plan), np.int8), previous_uses(static)
        least = seconds_after_pass(clock)
        reset(static, state)
        while state.scalars[OUTCOME] == GOES_ON:
            play(static, state, wishes, before, SLICE)
            if clock.remaining <= 0 and state.scalars[OUTCOME] == GOES_ON:
                return
            if long and clock.remaining < least:
                break  # the rest is in slow memory
        if long:
            self.try_wishes(wishes)
        else:
            clock.evaluations += 1
            self.take(int(state.scalars[TIME]), state.actions)
