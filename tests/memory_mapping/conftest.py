"""Tiny random programs with every feature of the problem, and legal walks on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.memory_mapping.builder import Builder
from sysopt_gym.datasets.memory_mapping.hardware import Hardware
from sysopt_gym.datasets.memory_mapping.instance import (
    ARG,
    AWAY,
    CONST,
    FREE,
    OUT,
    SLOW,
    TMP,
    Program,
)
from sysopt_gym.envs.memory_mapping import dynamics as d

# One byte takes one nanosecond in slow memory, so that times can be checked by hand.
ROUND = Hardware("round", 1e9, 4e9, 4e9, 1e12, 1.0, 1, "made up for tests")
KIB = 1024


def make_program(
    seed: int, instrs: int = 8, dead_end: str = "backup", share: float = 0.35
) -> Program:
    """A random program of so many instructions: arguments, constants, outputs, updates in place,
    loops, pins, a buffer too small to count; fast memory for a part of its peak.
    """
    rng = np.random.default_rng(seed)
    builder = Builder(ROUND)
    live = []
    for k in range(int(rng.integers(1, 4))):
        size, kind = int(rng.integers(4, 30)) * KIB + int(rng.integers(3)), int(rng.choice([0, 1]))
        pin = (SLOW, AWAY)[k % 2] if k and rng.random() < 0.15 else FREE
        live.append(builder.tensor(f"in{k}", size, (ARG, CONST)[kind], pin=pin))
    live.append(builder.tensor("small", 100, ARG))
    for i in range(instrs):
        reads = [int(t) for t in rng.choice(live, min(len(live), int(rng.integers(1, 4))), False)]
        kind = OUT if rng.random() < 0.2 else TMP
        writes = []
        candidates = [t for t in reads if builder.kinds[t] in (ARG, TMP)]
        if candidates and rng.random() < 0.25:
            base = candidates[0]
            writes.append(builder.tensor(f"t{i}", builder.sizes[base], kind, alias=base))
            live.remove(base)
        else:
            size = int(rng.integers(4, 30)) * KIB
            writes.append(builder.tensor(f"t{i}", size, kind))
        live += writes
        repeat = int(rng.choice([1, 1, 1, 3]))
        compute = float(rng.integers(0, 60)) * 1e-6
        with builder.loop(repeat):
            builder.instr(f"i{i}", reads, writes, compute_s=compute)
    for part in (share, 0.6, 1.0):  # a small part may leave nothing to decide
        with contextlib.suppress(InstanceError):
            return builder.build(f"tiny-{seed}", f"{part}", dead_end)
    raise AssertionError(f"seed {seed}: nothing to decide even at the whole peak")


def walk(program: Program, seed: int) -> tuple[list[int], d.Static, d.State]:
    """A random legal episode: its actions (rewinds included), and the state it leads to."""
    rng = np.random.default_rng(seed)
    static = d.make_static(program)
    state = d.make_state(static)
    actions = []
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        actions.append(int(rng.choice(np.flatnonzero(state.mask))))
        d.step(static, state, actions[-1])
    return actions, static, state


@pytest.fixture(scope="session")
def tiny_program() -> Callable[..., Program]:
    return make_program


@pytest.fixture(scope="session")
def random_walk() -> Callable[[Program, int], Any]:
    return walk


@pytest.fixture(scope="session")
def builder() -> Callable[[], Builder]:
    return lambda: Builder(ROUND)
