"""Speed of the memory-mapping environment on programs of 200 to 1,000 decisions. Uses envs, numpy
and numba.

What is timed are whole episodes of random legal actions, one process, in seconds of CPU, so that
other jobs on the machine count little: `env.step` with observation, mask and the resets between,
without the choice of the actions; and the bare dynamics, choice included. A rewind redoes
decisions, in random play about ten for each one taken, so the bare dynamics are timed with rewinds
(policy backup, decisions taken), without (policy reserve, which has none), and on a knapsack's
plans, as rewinds left them. No other implementation of the game is known; the reference is the
validator, which is the game in plain Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numba import njit

from ..core.contracts import Throughput, World
from ..datasets.memory_mapping.instance import Program, with_settings
from ..datasets.memory_mapping.splits import load_set
from ..envs.borrowed import borrow
from ..envs.memory_mapping.dynamics import (
    GOES_ON,
    OUTCOME,
    State,
    Static,
    make_state,
    make_static,
    play,
    reset,
    step,
)
from ..envs.memory_mapping.env import MallocGameEnv
from ..envs.memory_mapping.stays import find_stays, knapsack
from ..envs.memory_mapping.validate import validate
from ..envs.memory_mapping.wishes import play_wishes

PLAIN = "the game in plain Python (the validator), in this run"
SMALLEST, LARGEST = 200, 1000
REPEATS = 3
STEPS = 8_000
BARE_DECISIONS = 200_000


def measure() -> list[Throughput]:
    """All throughputs, over the programs of synthetic:test of that size, in turn."""
    programs = [p for p in load_set("synthetic:test") if SMALLEST <= p.n_decisions <= LARGEST]
    plans = [_random_plan(program) for program in programs]
    steps, spread = _repeat(lambda: _steps_per_second(programs, plans))
    bare, bare_spread = _repeat(lambda: _bare_per_second(programs))
    safe = [with_settings(program, {"dead_end": "reserve"}) for program in programs]
    free, free_spread = _repeat(lambda: _bare_per_second(safe))
    planned, planned_spread = _repeat(lambda: _planned_per_second(programs))
    plain, plain_spread = _repeat(lambda: _plain_per_second(programs, plans))
    size = f"{len(programs)} programs of {SMALLEST} to {LARGEST} decisions"
    return [
        Throughput(
            f"env.step, {size}", steps, "decisions/s", PLAIN, plain, max(spread, plain_spread)
        ),
        Throughput(
            f"bare dynamics, random play, policy backup, {size}",
            bare,
            "decisions/s",
            PLAIN,
            plain,
            max(bare_spread, plain_spread),
        ),
        Throughput(
            f"bare dynamics, random play, policy reserve, {size}",
            free,
            "decisions/s",
            PLAIN,
            plain,
            max(free_spread, plain_spread),
        ),
        Throughput(
            f"bare dynamics, a knapsack's plans, policy backup, {size}",
            planned,
            "decisions/s",
            PLAIN,
            plain,
            max(planned_spread, plain_spread),
        ),
    ]


def _repeat(run: Callable[[], float]) -> tuple[float, float]:
    """Median over repeats, and half the range as a fraction of it."""
    run()
    speeds = sorted(run() for _ in range(REPEATS))
    median = speeds[len(speeds) // 2]
    return median, (speeds[-1] - speeds[0]) / 2 / median


@njit(cache=True)
def _episodes(static: Static, state: State, count: int, draws: np.ndarray) -> int:
    """Plays episodes of random legal actions until so many decisions are taken."""
    static, state = borrow(static), borrow(state)
    taken = 0
    while taken < count:
        reset(static, state)
        while state.scalars[OUTCOME] == GOES_ON:
            action = draws[taken % len(draws)]
            while state.mask[action] == 0:
                action = (action + 1) % 3
            step(static, state, action)
            taken += 1
    return taken


def _draws() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, 65_537)


def _random_plan(program: Program) -> np.ndarray:
    """The plan of one random episode, free of rewinds."""
    static = make_static(program)
    state = make_state(static)
    _episodes(static, state, 1, _draws())
    return state.actions.copy()


def _bare_per_second(programs: list[Program]) -> float:
    games = [(static, make_state(static)) for static in map(make_static, programs)]
    draws, share = _draws(), BARE_DECISIONS // len(games)
    started = time.process_time()
    taken = sum(_episodes(static, state, share, draws) for static, state in games)
    return float(taken / (time.process_time() - started))


def _planned_per_second(programs: list[Program]) -> float:
    games = [(static, make_state(static)) for static in map(make_static, programs)]
    plans = []
    for static, state in games:
        play_wishes(static, state, knapsack(static, find_stays(static)))
        plans.append(state.actions.copy())
    started, taken = time.process_time(), 0
    while taken < BARE_DECISIONS:
        for (static, state), plan in zip(games, plans, strict=True):
            reset(static, state)
            taken += play(static, state, plan)
    return float(taken / (time.process_time() - started))


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
