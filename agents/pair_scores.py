"""Score pairs of an entity and a state: the last layer of heads over many legal actions.

Every pair needs a row of its own, so a batch has as many rows as legal actions; written as torch's
single operations they take most of a step of learning. Here they are one compiled pass each way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor


def pair_scores(own: Tensor, shift: Tensor, weight: Tensor, rows: Tensor, states: Tensor) -> Tensor:
    """Return weight . relu(own[row] + shift[state]) of n pairs, float32 [n].

    Args:
        own: float32 [G, d]; of the entities.
        shift: float32 [S, d]; of the states.
        weight: float32 [d].
        rows: int64 [n]; the pairs' entities.
        states: int64 [n]; the pairs' states.
    """
    if own.device.type != "cpu":
        hidden = own.index_select(0, rows) + shift.index_select(0, states)
        return torch.relu(hidden) @ weight
    scores: Tensor = _PairScores.apply(own, shift, weight, rows, states)  # type: ignore[no-untyped-call]
    return scores


class _PairScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        arrays = [part.detach().contiguous().numpy() for part in given]
        return torch.from_numpy(_scores(*arrays))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        arrays = [part.detach().contiguous().numpy() for part in ctx.saved_tensors]
        found = _slopes(*arrays, slopes[0].contiguous().numpy())
        return (*map(torch.from_numpy, found), None, None)


@njit(cache=True, fastmath=True)
def _scores(
    own: np.ndarray, shift: np.ndarray, weight: np.ndarray, rows: np.ndarray, states: np.ndarray
) -> np.ndarray:
    """Compute `pair_scores`."""
    scores = np.empty(len(rows), np.float32)
    for i in range(len(rows)):
        a, b, total = own[rows[i]], shift[states[i]], np.float32(0.0)
        for j in range(len(weight)):
            total += max(a[j] + b[j], np.float32(0.0)) * weight[j]
        scores[i] = total
    return scores


@njit(cache=True, fastmath=True)
def _slopes(
    own: np.ndarray, shift: np.ndarray, weight: np.ndarray, rows: np.ndarray, states: np.ndarray,
    slopes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return the slopes by own, shift and weight, given those by the scores, float32 [n]."""
    by_own, by_shift = np.zeros_like(own), np.zeros_like(shift)
    by_weight = np.zeros_like(weight)
    for i in range(len(rows)):
        a, b, slope = own[rows[i]], shift[states[i]], slopes[i]
        at_own, at_shift = by_own[rows[i]], by_shift[states[i]]
        for j in range(len(weight)):
            hidden = a[j] + b[j]
            on = np.float32(1.0) if hidden > 0 else np.float32(0.0)
            by_weight[j] += slope * on * hidden
            at_own[j] += slope * on * weight[j]
            at_shift[j] += slope * on * weight[j]
    return by_own, by_shift, by_weight
