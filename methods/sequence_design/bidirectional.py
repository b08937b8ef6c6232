"""Parts that the bidirectional methods bib and bdi share: first logits, letters, final designs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import starting_designs
from .sequences import decode

TARGET = 10.0  # standardized score that candidates are labeled with
RIDGE = 1e-6  # ridge, as a share of the kernel's mean diagonal
START_NOISE = 0.1  # standard deviation of the first logits


def start_logits(task: DesignTask, rng: np.random.Generator) -> np.ndarray:
    """Draw first logits that prefer the letters of the start pool, as BIB's released code does.

    The logits are normal noise of deviation START_NOISE; at each position the largest is exchanged
    with that of the start's own letter.

    Args:
        task: gives the starts, the first n = min(batch_size, S) of the start pool.
        rng: draws the noise.

    Returns:
        float64 [n, L, V].
    """
    starts = starting_designs(task)[: task.batch_size]
    logits = rng.normal(0.0, START_NOISE, (*starts.shape, task.letters))
    best = logits.argmax(axis=2)[..., None]
    own = starts.astype(np.int64)[..., None]
    high, low = np.take_along_axis(logits, best, 2), np.take_along_axis(logits, own, 2)
    np.put_along_axis(logits, best, low, 2)
    np.put_along_axis(logits, own, high, 2)
    return logits


def straight_through(task: DesignTask, logits: Tensor) -> Tensor:
    """Decode logits to one-hot letters whose gradient is the softmax's.

    Args:
        task: the task; letters that its banned pairs exclude are not chosen.
        logits: [n, L, V].

    Returns:
        One-hot letters [n, L, V].
    """
    soft = logits.softmax(dim=2)
    tokens = torch.as_tensor(decode(task, logits.detach().numpy()), dtype=torch.long)
    hard = nn.functional.one_hot(tokens, task.letters).float()
    return hard + soft - soft.detach()


def finals_first(visited: Sequence[np.ndarray]) -> np.ndarray:
    """Collect the distinct sequences of all steps, those of the latest step first.

    Args:
        visited: the candidates int8 [n, L] of each step, in order.

    Returns:
        int8 [m, L].
    """
    latest = {row.tobytes(): row for tokens in reversed(visited) for row in reversed(tokens)}
    return np.stack(list(latest.values()))


def best_first(designs: np.ndarray, predicted: Tensor) -> np.ndarray:
    """Sort designs by prediction, the highest first.

    Args:
        designs: int8 [n, L].
        predicted: float [n].
    """
    order = predicted.argsort(descending=True, stable=True).numpy()
    ranked: np.ndarray = designs[order]
    return ranked
