"""Count the multiply-adds of convolutions; taps on padding or between elements count for none."""

from __future__ import annotations

import math

import numpy as np

LONGEST = 1 << 24  # of outputs and taps, the fewer; more are refused, since they are counted singly


def valid_taps(
    size: int,
    kernel: int,
    stride: int = 1,
    low: int = 0,
    high: int = 0,
    lhs_dilation: int = 1,
    rhs_dilation: int = 1,
) -> int:
    """Count the pairs of an output and a tap that meet an input element, along one dimension.

    The multiply-adds of a convolution are the product of this over its spatial dimensions, times
    the outputs' batch, times the output features, times the input features of one group. Whether
    the kernel is reversed makes no difference.

    Args:
        size: input elements.
        kernel: taps.
        stride: positions from one output to the next.
        low: positions of padding before the first element; negative to cut elements off.
        high: positions of padding after the last element, likewise.
        lhs_dilation: positions from one input element to the next.
        rhs_dilation: positions from one tap to the next.

    Raises:
        ValueError: a number is out of its range, or the window is longer than LONGEST.
    """
    if min(size, kernel) < 0 or min(stride, lhs_dilation, rhs_dilation) < 1:
        raise ValueError("sizes below 0, or strides or dilations below 1")
    if not size or not kernel:
        return 0
    end = (size - 1) * lhs_dilation  # position of the last element; the first is at 0
    room = end + low + high - (kernel - 1) * rhs_dilation
    outputs = room // stride + 1 if room >= 0 else 0
    # Output o's tap k is at o * stride + k * rhs_dilation - low. The two are alike: the fewer are
    # gone through, and of the others those are counted that land on elements.
    (few, step), (many, pace) = sorted([(outputs, stride), (kernel, rhs_dilation)])
    if few > LONGEST:
        raise ValueError(f"a window of {kernel} taps at {outputs} outputs is too long to count")
    far = max(abs(low), abs(high), end, few * step, many * pace) >= 1 << 60
    if far or max(step, pace, lhs_dilation) >= 1 << 30:
        raise ValueError("positions do not fit 64 bits")
    start = np.arange(few, dtype=np.int64) * step - low
    # Taps at start + j * pace are on the grid of elements for every `period`-th j, or for none.
    common = math.gcd(pace, lhs_dilation)
    period = lhs_dilation // common
    inverse = pow(pace // common, -1, period) if period > 1 else 0
    first = -(start // common) % period * inverse % period
    first += period * np.maximum(0, -((start + first * pace) // (period * pace)))
    last = np.minimum((end - start) // pace, many - 1)
    counts = np.maximum((last - first) // period + 1, 0)
    return int(counts[start % common == 0].sum())
