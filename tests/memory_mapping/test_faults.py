"""Faults in the dynamics or the objective are noticed by the judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from planted import Case, Fault, check_that_the_judge_notices, wrap
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.memory_mapping.instance import DEAD_ENDS, Program
from sysopt_gym.envs.memory_mapping import dynamics as d
from sysopt_gym.envs.memory_mapping import objective
from sysopt_gym.envs.memory_mapping.static import CARRIED, CHANGED, TIME_BEFORE, UNTIL

Make = Callable[..., Program]
Walk = Callable[[Program, int], tuple[list[int], d.Static, d.State]]


def cases(make: Make, looped: Make, walk: Walk) -> list[Case]:
    """Random legal plans under every treatment of dead ends, of programs without and with loops."""
    made = []
    for seed in range(48):
        program = (make, looped)[seed % 2](seed, 16, DEAD_ENDS[seed % len(DEAD_ENDS)])
        actions, _, _ = walk(program, seed)
        made.append((program, np.array(actions, np.int64), World()))
    return made


def changed(**change: Callable[[d.Static], object]) -> Fault:
    """The fault of a program whose fields are read otherwise."""
    return wrap(
        d.make_static,
        lambda static: static._replace(**{name: new(static) for name, new in change.items()}),
    )


def ring_column(static: d.Static, column: int, value: int) -> np.ndarray:
    rings = static.rings.copy()
    rings[:, column] = value
    return rings


FAULTS: dict[str, Fault] = {
    "fast memory has a KiB less": changed(capacity=lambda static: static.capacity - 1024),
    "fast memory has a KiB more": changed(capacity=lambda static: static.capacity + 1024),
    "copies take a hundredth less": changed(
        buf_copy=lambda static: static.buf_copy - static.buf_copy // 100
    ),
    "fast memory takes no time": changed(dec_fast=lambda static: static.dec_fast * 0),
    "writes are held up to themselves alone": changed(dec_until=lambda static: static.dec_instr),
    "outputs may stay in fast memory": changed(buf_at_end=lambda static: static.buf_at_end * 0),
    "loops carry nothing": changed(rings=lambda static: ring_column(static, CARRIED, 0)),
    "loops change nothing": changed(rings=lambda static: ring_column(static, CHANGED, 0)),
    "what stays in a loop is held to its use": changed(
        rings=lambda static: ring_column(static, UNTIL, 0)
    ),
    "a copy before a loop takes no time": changed(
        rings=lambda static: ring_column(static, TIME_BEFORE, 1)
    ),
    "the speed-up is the share of time that is left": wrap(
        objective.speedup, lambda value: 1.0 / value
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_dynamics_or_the_objective_is_noticed(
    tiny_program: Make, looped_program: Make, random_walk: Walk, fault: str
) -> None:
    made = cases(tiny_program, looped_program, random_walk)
    check_that_the_judge_notices("memory_mapping", made, FAULTS[fault])
