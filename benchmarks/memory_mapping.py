"""Measure the speed of the memory-mapping environment on programs of 200 to 1,000 decisions.

Whole episodes are timed in one process, in seconds of CPU, so that other jobs on the machine count
little: `env.step` with observation, mask and resets, without the choice of actions, which are
random legal ones; and the bare dynamics, choice included. Rewinds redo decisions, so the bare
dynamics are timed with them (policy backup), in decisions taken and in decisions played, redone
ones included, and without (policy reserve, which has none). The plans of a threshold sweep, played
by wishes under backup, represent what solvers play. No other implementation of the game is known;
the reference is the validator, which is the game in plain Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numba import njit

from ..core.contracts import Throughput, World
from ..datasets.memory_mapping.instance import Program
from ..datasets.memory_mapping.settings import with_settings
from ..datasets.memory_mapping.splits import SETS
from ..envs.borrowed import borrow
from ..envs.memory_mapping.dynamics import (
    GOES_ON,
    OUTCOME,
    REDONE,
    State,
    Static,
    make_state,
    make_static,
    reset,
    step,
)
from ..envs.memory_mapping.env import MallocGameEnv
from ..envs.memory_mapping.validate import validate
from ..methods.memory_mapping.threshold import priorities
from ..methods.memory_mapping.wishes import play_wishes
from .timing import Run, beside

PLAIN = "the game in plain Python (the validator), in this run"
SMALLEST, LARGEST = 200, 1000
STEPS = 8_000
BARE_DECISIONS = 500_000
LEVELS = (0.2, 0.4, 0.6, 0.8)  # quantiles of priorities: shares of uses left in slow memory


def measure() -> list[Throughput]:
    """Measure the throughputs on the programs of synthetic:test of that size, in turns."""
    programs = [p for p in SETS.load("synthetic:test") if SMALLEST <= p.n_decisions <= LARGEST]
    plans = [_random_plan(program) for program in programs]
    safe = [with_settings(program, {"dead_end": "reserve"}) for program in programs]
    runs: dict[str, Run] = {
        "env.step": lambda: _steps_per_second(programs, plans),
        "bare dynamics, policy backup, taken": lambda: _bare_per_second(programs),
        "bare dynamics, policy backup, played with those redone": (
            lambda: _bare_per_second(programs, redone=1)
        ),
        "bare dynamics, policy reserve": lambda: _bare_per_second(safe),
        "bare dynamics, policy backup, a threshold sweep's plans, taken": (
            _wishes_per_second(programs)
        ),
    }
    size = f"{len(programs)} programs of {SMALLEST} to {LARGEST} decisions"
    named = {f"{name}, {size}": run for name, run in runs.items()}
    return beside(named, "decisions/s", PLAIN, lambda: _plain_per_second(programs, plans))


@njit(cache=True)
def _episodes(static: Static, state: State, count: int, draws: np.ndarray) -> tuple[int, int]:
    """Play episodes of random legal actions until a number of decisions is taken.

    Returns:
        Decisions taken, and decisions that rewinds redid.
    """
    static, state = borrow(static), borrow(state)
    taken, redone = 0, 0
    while taken < count:
        reset(static, state)
        while state.scalars[OUTCOME] == GOES_ON:
            action = draws[taken % len(draws)]
            while state.mask[action] == 0:
                action = (action + 1) % 3
            step(static, state, action)
            taken += 1
        redone += state.scalars[REDONE]
    return taken, redone


def _draws() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, 65_537)


def _random_plan(program: Program) -> np.ndarray:
    """Return the plan of one random episode, free of rewinds."""
    static = make_static(program)
    state = make_state(static)
    _episodes(static, state, 1, _draws())
    return state.actions.copy()


def _bare_per_second(programs: list[Program], redone: int = 0) -> float:
    """Return decisions per second; those redone count `redone` times (0 or 1)."""
    games = [(static, make_state(static)) for static in map(make_static, programs)]
    draws, share = _draws(), BARE_DECISIONS // len(games)
    started, played = time.process_time(), 0
    for static, state in games:
        counts = _episodes(static, state, share, draws)
        played += counts[0] + redone * counts[1]
    return float(played / (time.process_time() - started))


def _wishes_per_second(programs: list[Program]) -> Callable[[], float]:
    """Return a run that plays every plan of a coarse sweep over thresholds."""
    games = []
    for static in map(make_static, programs):
        sweep = [
            (row >= level).astype(np.int8)
            for row in priorities(static)
            for level in np.quantile(row, LEVELS)
        ]
        games.append((static, make_state(static), sweep))

    def run() -> float:
        started, taken = time.process_time(), 0
        for static, state, sweep in games:
            for wishes in sweep:
                play_wishes(static, state, wishes)
                taken += len(wishes)
        return float(taken / (time.process_time() - started))

    return run


def _steps_per_second(programs: list[Program], plans: list[np.ndarray]) -> float:
    env = MallocGameEnv(programs)
    for program in programs:
        env.reset(options={"instance": program})
    started, taken = time.process_time(), 0
    while taken < STEPS:
        for program, plan in zip(programs, plans, strict=True):
            env.reset(options={"instance": program})
            for action in plan.tolist():
                env.step(action)
            taken += len(plan)
    return float(taken / (time.process_time() - started))


def _plain_per_second(programs: list[Program], plans: list[np.ndarray]) -> float:
    started, taken = time.process_time(), 0
    for program, plan in list(zip(programs, plans, strict=True))[:3]:
        validate(program, plan, World())
        taken += len(plan)
    return float(taken / (time.process_time() - started))
