"""The objective of memory mapping: how much faster than with everything in slow memory."""

from __future__ import annotations

from ...core.contracts import Objective
from ...datasets.memory_mapping.instance import Program
from .dynamics import TIME, State, Static

SPEEDUP = Objective("speedup", "maximize", "all-slow time / time")


def objective_of(program: Program) -> Objective:
    """Name, direction and unit of the program's objective."""
    return SPEEDUP


def speedup(static: Static, state: State) -> float:
    """The objective, higher is better: all_slow / TIME; what is undecided counts as slow."""
    return static.all_slow / int(state.scalars[TIME]) if state.scalars[TIME] else 1.0


def saving(static: Static, picoseconds: int) -> float:
    """A time as a part of the all-slow time, the unit of rewards.

    Rewards of an episode add up to 1 - 1 / speedup.
    """
    return picoseconds / static.all_slow if static.all_slow else 0.0


def all_fast_bound(static: Static) -> float:
    """An upper bound on the speed-up: everything fast, copies for nothing, capacity no limit."""
    slow = static.instr_slow.copy()
    fast = static.instr_slow * 0
    for decision, instr in enumerate(static.dec_instr):
        saves = static.dec_slow[decision] > static.dec_fast[decision]
        if saves:
            slow[instr] -= static.dec_slow[decision]
            fast[instr] += static.dec_fast[decision]
    best = sum(
        max(int(c), int(s) + int(f))
        for c, s, f in zip(static.instr_compute, slow, fast, strict=True)
    )
    return static.all_slow / best if best else 1.0
