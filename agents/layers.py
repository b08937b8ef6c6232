"""Linear layers for compiled play: weights as plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from torch import nn


class Layer(NamedTuple):
    """A linear layer: weights float32 [in, out], bias float32 [out]."""

    weight: np.ndarray
    bias: np.ndarray


def take_layer(linear: nn.Linear) -> Layer:
    """The compiled functions' view of a layer."""
    weight = np.ascontiguousarray(linear.weight.detach().cpu().numpy().T, np.float32)
    bias = np.zeros(weight.shape[1], np.float32)
    if linear.bias is not None:
        bias[:] = linear.bias.detach().cpu().numpy()
    return Layer(weight, bias)


@njit(cache=True, fastmath=True)
def affine(x: np.ndarray, n: int, layer: Layer, out: np.ndarray) -> None:
    """The layer's output for the first n numbers of x, into `out`."""
    weight, bias = layer.weight, layer.bias
    for j in range(len(bias)):
        out[j] = bias[j]
    for i in range(n):
        xi = x[i]
        if xi != 0.0:
            for j in range(len(bias)):
                out[j] += xi * weight[i, j]


@njit(cache=True, fastmath=True)
def relu(x: np.ndarray) -> None:
    """Rectifies in place."""
    for j in range(len(x)):
        x[j] = max(x[j], np.float32(0.0))
