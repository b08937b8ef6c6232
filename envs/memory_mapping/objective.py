"""The objective of memory mapping: how much faster than with everything in slow memory."""

from __future__ import annotations

import numpy as np

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
    slow, fast = static.instr_slow.copy(), np.zeros_like(static.instr_slow)
    saves = static.dec_slow > static.dec_fast
    np.subtract.at(slow, static.dec_instr[saves], static.dec_slow[saves])
    np.add.at(fast, static.dec_instr[saves], static.dec_fast[saves])
    best = int(np.maximum(static.instr_compute, slow + fast).sum())
    return static.all_slow / best if best else 1.0
