"""Tiny random programs with every feature of memory mapping, and legal walks on them."""

from __future__ import annotations

import contextlib

import numpy as np
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.memory_mapping.builder import Builder, Use
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


def make_looped_program(
    seed: int, instrs: int = 9, dead_end: str = "backup", share: float = 0.5
) -> Program:
    """A random program with loops, also nested: state that trips update, temporaries of a trip,
    accumulators that are written in part, buffers that are only read, outputs of a loop.
    """
    rng = np.random.default_rng(seed)
    builder = Builder(ROUND)
    live = [
        builder.tensor(f"in{k}", int(rng.integers(4, 30)) * KIB, (ARG, CONST)[k % 2])
        for k in range(int(rng.integers(2, 5)))
    ]
    made = [builder.tensor(f"s{k}", int(rng.integers(4, 30)) * KIB, TMP) for k in range(3)]

    def emit(name: str) -> None:
        reads = [int(t) for t in rng.choice(live, min(len(live), int(rng.integers(0, 4))), False)]
        kind, writes = rng.random(), []
        state = [t for t in live if builder.kinds[t] != CONST]
        if kind < 0.45 and state:  # written in place, in whole or in part, read before or not
            base = int(rng.choice(state))
            if rng.random() < 0.5 and base not in reads:
                reads.append(base)
            part = builder.sizes[base] // (1 if rng.random() < 0.6 else 3)
            writes.append(Use(base, part))
        elif kind < 0.6 and made:
            tensor = made.pop()
            part = builder.sizes[tensor] // (1 if rng.random() < 0.4 else 4)
            writes.append(Use(tensor, part))
            live.append(tensor)
        elif kind < 0.95:
            size = int(rng.integers(4, 30)) * KIB
            writes.append(Use(builder.tensor(f"{name}.t", size, OUT if kind > 0.85 else TMP)))
            live.append(writes[0].tensor)
        builder.instr(name, reads, writes, compute_s=float(rng.integers(0, 60)) * 1e-6)

    def body(depth: int) -> None:
        while len(builder.instrs) < instrs:
            if depth < 3 and rng.random() < 0.3:
                with builder.loop(int(rng.choice([2, 2, 3]))):
                    emit(f"i{len(builder.instrs)}")
                    body(depth + 1)
            else:
                emit(f"i{len(builder.instrs)}")
            if depth and rng.random() < 0.45:
                return

    body(0)
    for part in (share, 0.8, 1.0):
        with contextlib.suppress(InstanceError):
            return builder.build(f"looped-{seed}", f"{part}", dead_end)
    raise AssertionError(f"seed {seed}: nothing to decide")


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
