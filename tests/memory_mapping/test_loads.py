"""Loads that are added over runs of instructions, beside plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from sysopt_gym.envs.memory_mapping import loads


@pytest.mark.parametrize("instrs", [1, 2, 7, 8, 9, 100])
def test_sums_and_peaks_are_those_of_an_array(instrs: int) -> None:
    rng = np.random.default_rng(instrs)
    sums, peaks = loads.make_sums(instrs), loads.make_peaks(instrs)
    plain = np.zeros(instrs, np.int64)
    for amount in rng.integers(0, 1000, 200).tolist():
        first, last = np.sort(rng.integers(0, instrs, 2)).tolist()
        loads.add_to_sums(sums, first, last, amount)
        loads.add_to_peaks(peaks, first, last, amount)
        plain[first : last + 1] += amount
        first, last = np.sort(rng.integers(0, instrs, 2)).tolist()
        assert loads.sum_of(sums, first, last) == plain[first : last + 1].sum()
        assert loads.peak_of(peaks, first, last) == plain[first : last + 1].max()
