"""Observations of one environment as batches. Uses numpy and torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def stack(observations: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """A batch of observations, padded to the largest of them along the first axis."""
    batch = {}
    for key in observations[0]:
        size = max(len(obs[key]) for obs in observations)
        batch[key] = torch.from_numpy(np.stack([pad(obs[key], size) for obs in observations]))
    return batch


def pad(array: np.ndarray, size: int) -> np.ndarray:
    """The array with zeros behind it, up to a size along the first axis."""
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
