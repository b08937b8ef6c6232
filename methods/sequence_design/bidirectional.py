"""What the bidirectional methods share: starts, straight-through letters, finals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.sequence_design.instance import DesignTask
from .sequences import decode

TARGET = 10.0  # standardized score that designs aim at
RIDGE = 1e-6  # of the kernel's mean diagonal
START_NOISE = 0.1  # standard deviation of the first logits


def start_logits(task: DesignTask, rng: np.random.Generator) -> np.ndarray:
    """Logits [n, L, V]: noise, the greatest of each position at the start's own letter."""
    starts = task.sequences[task.starts[: task.batch_size]]
    logits = rng.normal(0.0, START_NOISE, (*starts.shape, task.letters))
    best = logits.argmax(axis=2)[..., None]
    own = starts.astype(np.int64)[..., None]
    high, low = np.take_along_axis(logits, best, 2), np.take_along_axis(logits, own, 2)
    np.put_along_axis(logits, best, low, 2)
    np.put_along_axis(logits, own, high, 2)
    return logits


def straight_through(task: DesignTask, logits: Tensor) -> Tensor:
    """Whole letters [n, L, V] whose gradient is the softmax's."""
    soft = logits.softmax(dim=2)
    tokens = torch.as_tensor(decode(task, logits.detach().numpy()), dtype=torch.long)
    hard = nn.functional.one_hot(tokens, task.letters).float()
    return hard + soft - soft.detach()


def finals_first(met: Sequence[np.ndarray]) -> np.ndarray:
    """The different sequences int8 [m, L] among those met, [n, L] a step, latest first."""
    latest = {row.tobytes(): row for tokens in reversed(met) for row in reversed(tokens)}
    return np.stack(list(latest.values()))


def best_first(designs: np.ndarray, believed: Tensor) -> np.ndarray:
    """The designs int8 [n, L] in the order of what is predicted for them, [n]."""
    order = believed.argsort(descending=True, stable=True).numpy()
    ranked: np.ndarray = designs[order]
    return ranked
