"""Compute linear layers in compiled play: weights as plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from torch import nn


class Layer(NamedTuple):
    """A linear layer with n inputs and m outputs.

    Attributes:
        weight: float32 [n, m].
        bias: float32 [m].
    """

    weight: np.ndarray
    bias: np.ndarray


def take_layer(linear: nn.Linear) -> Layer:
    """Copy a layer for compiled functions; a layer without bias gets zeros."""
    weight = np.ascontiguousarray(linear.weight.detach().cpu().numpy().T, np.float32)
    bias = np.zeros(weight.shape[1], np.float32)
    if linear.bias is not None:
        bias[:] = linear.bias.detach().cpu().numpy()
    return Layer(weight, bias)


@njit(cache=True, fastmath=True)
def affine(x: np.ndarray, n: int, layer: Layer, out: np.ndarray) -> None:
    """Compute a layer's output.

    Args:
        x: float32 [>= n]; the input is its first n entries.
        n: number of inputs.
        layer: the layer, of n inputs and m outputs.
        out: float32 [m]; gets the output.
    """
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
    """Set the negative entries of x, float32 [n], to 0."""
    for j in range(len(x)):
        x[j] = max(x[j], np.float32(0.0))
