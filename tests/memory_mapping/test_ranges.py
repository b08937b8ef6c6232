"""Searches of address ranges find what a search of all of them would, however far back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.envs.memory_mapping import ranges as r

CAPACITY = 200


def plain_best_fit(held: list[list[int]], since: int, size: int) -> int:
    """The start of the smallest run of free addresses that fits, the lowest of equals."""
    taken = np.zeros(CAPACITY + 1, bool)
    taken[CAPACITY] = True
    for offset, top, _, end, _ in held:
        taken[offset:top] |= end >= since
    edges = np.flatnonzero(taken)
    starts = np.concatenate([[0], edges[:-1] + 1])
    fits = [(gap, low) for low, gap in zip(starts, edges - starts, strict=True) if gap >= size]
    return int(min(fits)[1]) if fits else -1


@given(seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_the_two_parts_of_the_table_answer_as_one_list_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rects, counts = np.zeros((5, 200), np.int64), np.zeros(3, np.int64)
    held: list[list[int]] = []
    for buffer in range(150):
        now = buffer
        since = max(0, now - int(rng.choice([0, 0, 1, 3, 10, 24, 28, 33, 60, 140])))
        size, end = int(rng.integers(1, 9)), now + int(rng.integers(0, 6))
        offset = r.best_fit(rects, counts, since, size, CAPACITY)
        assert offset == plain_best_fit(held, since, size)
        if offset >= 0:
            r.place(rects, counts, offset, offset + size, since, end, buffer, now)
            held.append([offset, offset + size, since, end, buffer])
        one = held[rng.integers(len(held))]
        low, top, _, was, _ = one
        free = not any(e > was and t > low and o < top and s <= now for o, t, s, e, _ in held)
        assert r.stays_free(rects, counts, low, top - low, was, now) == free
        if free and was < now:
            r.hold(rects, counts, one[4], was, now)
            one[3] = now
    assert counts[r.N_PAST] > 0
    assert sorted(r.all_ranges(rects, counts).T.tolist()) == sorted(held)
