"""Tests of the count of a convolution's multiply-adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.datasets.memory_mapping.convolution import LONGEST, valid_taps


def count_one_by_one(
    size: int, kernel: int, stride: int, low: int, high: int, spread: int, dilation: int
) -> int:
    """Count as valid_taps does, by laying out the padded and dilated input."""
    line = [0] * ((size - 1) * spread + 1) if size else []
    line[::spread] = [1] * size
    line = [0] * max(low, 0) + line[max(-low, 0) :] + [0] * max(high, 0)
    line = line[: len(line) + min(high, 0)] if high < 0 else line
    reach = (kernel - 1) * dilation
    return sum(
        line[at + tap * dilation]
        for at in range(0, len(line) - reach, stride)
        for tap in range(kernel)
    )


@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    low=st.integers(0, 6),
    high=st.integers(0, 6),
    spread=st.integers(1, 6),
    dilation=st.integers(1, 4),
)
def test_taps_equal_a_count_one_by_one(**window: int) -> None:
    assert valid_taps(*window.values()) == count_one_by_one(**window)


@given(
    st.integers(6, 12), st.integers(1, 4), st.integers(1, 3), st.integers(-3, 2), st.integers(-3, 2)
)
def test_negative_padding_cuts_elements_off(
    size: int, kernel: int, stride: int, low: int, high: int
) -> None:
    assert valid_taps(size, kernel, stride, low, high) == count_one_by_one(
        size, kernel, stride, low, high, 1, 1
    )


def test_known_windows() -> None:
    assert valid_taps(32, 3, 1, 1, 1) == 94  # "same": both ends miss one tap
    assert valid_taps(32, 3) == 90  # "valid": every tap counts
    assert valid_taps(16, 16, 15, 0, 0, 16) == 16  # a batched product written as a convolution
    assert valid_taps(0, 3, 1, 5, 5) == valid_taps(5, 9) == 0
    assert valid_taps(10**9, 3, 2, 1, 1) == 3 * 10**9 // 2 - 1  # no matter how long the input is


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="below 1"):
        valid_taps(4, 3, 0)
    with pytest.raises(ValueError, match="too long"):
        valid_taps(4 * LONGEST, 2 * LONGEST)
    with pytest.raises(ValueError, match="64 bits"):
        valid_taps(1, 3, 1, 1, 1, 1 << 40)
