"""Addresses that memory-space assignment takes are free of other values."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.datasets.memory_mapping.generator import generate
from sysopt_gym.datasets.memory_mapping.settings import with_settings
from sysopt_gym.envs.memory_mapping.static import planning_static
from sysopt_gym.methods.memory_mapping import chunks as c
from sysopt_gym.methods.memory_mapping import msa

INSTRS, CAPACITY = 700, 60


def gaps(taken: np.ndarray, start: int, end: int) -> list[tuple[int, int]]:
    """The free runs (length, first address) of a table of addresses by instructions."""
    busy = np.append(taken[start : end + 1].any(axis=0), True)
    found, low = [], 0
    for address in np.flatnonzero(busy).tolist():
        if address > low:
            found.append((address - low, low))
        low = address + 1
    return found


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_chunks_fit_as_in_a_table_of_all_addresses_in_all_instructions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chunks = c.make_chunks(INSTRS, 120)
    taken = np.zeros((INSTRS, CAPACITY), bool)
    held: list[int] = []
    for _ in range(120):
        start = int(rng.integers(INSTRS))
        end = min(INSTRS - 1, start + int(rng.integers(0, [1, 20, 150, INSTRS][rng.integers(4)])))
        size = int(rng.integers(1, 12))
        fits = [gap for gap in gaps(taken, start, end) if gap[0] >= size]
        offset = c.best_fit(chunks, size, start, end, CAPACITY)
        assert offset == (min(fits)[1] if fits else c.NONE)
        if offset >= 0:
            held.append(c.take(chunks, offset, size, start, end))
            taken[start : end + 1, offset : offset + size] = True
        row = held[rng.integers(len(held))]
        addresses = slice(chunks.offset[row], chunks.offset[row] + chunks.size[row])
        later = min(INSTRS - 1, int(chunks.end[row] + rng.integers(0, 90)))
        free = not taken[chunks.end[row] + 1 : later + 1, addresses].any()
        assert c.is_free(chunks, row, int(chunks.end[row]) + 1, later, CAPACITY) == free
        if free and rng.random() < 0.5:
            taken[chunks.end[row] : later + 1, addresses] = True
            c.hold_until(chunks, row, later)
        elif len(held) > 1 and rng.random() < 0.2:
            taken[chunks.start[row] : chunks.end[row] + 1, addresses] = False
            c.give_back(chunks, row)
            held.remove(row)
        assert (chunks.load == taken.sum(axis=1)).all()


def test_no_two_values_share_addresses_in_an_instruction() -> None:
    program = generate({"kind": "transformer", "layers": "4", "train": "1", "capacity": "0.3"}, 3)
    static = planning_static(with_settings(program, {"dead_end": "reserve"}))
    plan = msa.make_plan(static)
    msa.place_values(static, plan, msa.by_priority(static))
    assert (plan.wishes == msa.assign(static, Budget(seconds=60.0).start())).all()
    assert 0 < plan.wishes.sum() < len(plan.wishes)
    assert plan.chunks.load.max() <= static.capacity
    at = plan.chunks
    for one, other in itertools.combinations(range(int(at.made[0])), 2):
        apart_in_time = at.end[one] < at.start[other] or at.end[other] < at.start[one]
        above = at.offset[one] >= at.offset[other] + at.size[other]
        below = at.offset[other] >= at.offset[one] + at.size[one]
        assert apart_in_time or above or below


def test_values_that_the_seconds_leave_no_time_for_stay_in_slow_memory() -> None:
    static = planning_static(generate({"kind": "chain", "layers": "3"}, 1))
    assert not msa.assign(static, Budget(seconds=1e-9).start()).any()
    assert msa.assign(static, Budget(seconds=60.0).start(), seconds=-1.0).sum() == 0


def test_the_picker_takes_the_first_of_the_nearest_moments() -> None:
    elapsed = np.array([0, 10, 10, 20, 40], np.int64)
    assert [msa._nearest(elapsed, 0, 5, moment) for moment in (-5, 10, 14, 15, 16, 99)] == [
        0, 1, 1, 1, 3, 4,
    ]  # fmt: skip
