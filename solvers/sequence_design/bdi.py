"""BDI: bidirectional learning for offline model-based optimization (Chen et al. 2022, arXiv
2209.07507).

Kernel ridge regression both ways, with the neural tangent kernel of an infinitely wide rectified
network of five hidden layers (Jacot et al. 2018, arXiv 1806.07572): the offline set should give a
candidate the score aimed at, and the candidate, labeled with that score, should predict the
offline set. Both losses weigh alike; candidates descend their sum through straight-through letters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...methods.sequence_design.adam import RATE, Adam
from ...methods.sequence_design.bidirectional import (
    RIDGE,
    TARGET,
    best_first,
    finals_first,
    start_logits,
    straight_through,
)
from ...methods.sequence_design.pool import hand_in, out_of_time
from ...methods.sequence_design.sequences import decode, one_hot, some_rows

DEPTH = 5
STEPS = 200
MOST_ROWS = 1500  # of the offline set in the kernel: the best half of these, the rest drawn
CHUNK = 64  # candidates a pass
INSIDE = 1.0 - 1e-6  # cosines are kept below; the kernel's slope is infinite at 1


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Optimizes a candidate from each of the best measured sequences, and hands in the finals, best
    by the forward regression first; one evaluation is one step of one candidate.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    known, y = _rows(instance, rng)
    gram = tangent_kernel(known, known)
    ridge = RIDGE * gram.trace() / len(gram)
    alpha = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), y)
    own = float(gram.diagonal().mean())
    logits, adam = start_logits(instance, rng), Adam()
    met = [decode(instance, logits)]
    for _ in range(STEPS):
        if out_of_time(clock):
            break
        slopes = [
            _gradient(instance, part, known, y, alpha, own)
            for part in np.array_split(logits, -(-len(logits) // CHUNK))
        ]
        logits = logits - RATE * adam.direction(np.concatenate(slopes))
        clock.evaluations += len(logits)
        met.append(decode(instance, logits))
    finals = finals_first(met)[: instance.batch_size]
    kernel = tangent_kernel(torch.as_tensor(one_hot(instance, finals)).double(), known)
    return hand_in(instance, best_first(finals, kernel @ alpha), clock)


def tangent_kernel(one: Tensor, other: Tensor) -> Tensor:
    """The kernel, [n, m], of letters [n, L, V] and [m, L, V]; a sequence's own is DEPTH + 1."""
    cosine = torch.einsum("nlv,mlv->nm", one, other) / one.shape[1]
    kernel = cosine
    for _ in range(DEPTH):
        inside = cosine.clamp(-INSIDE, INSIDE)
        angle = torch.arccos(inside)
        slope = 1.0 - angle / torch.pi
        cosine = torch.sqrt(1.0 - inside**2) / torch.pi + inside * slope
        kernel = kernel * slope + cosine
    return kernel


def _rows(task: DesignTask, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Letters [N, L, V] and standardized scores [N] of some rows, float64."""
    rows = some_rows(task, MOST_ROWS, rng)
    letters = one_hot(task, task.sequences[rows]).astype(np.float64)
    scores = (task.scores - task.scores.mean()) / task.scores.std()
    return torch.as_tensor(letters), torch.as_tensor(scores[rows])


def _gradient(
    task: DesignTask, logits: np.ndarray, known: Tensor, y: Tensor, alpha: Tensor, own: float
) -> np.ndarray:
    """Of both losses' sum by the logits [n, L, V]."""
    leaf = torch.tensor(logits, requires_grad=True)
    kernel = tangent_kernel(straight_through(task, leaf).double(), known)
    forward = (kernel @ alpha - TARGET) ** 2
    backward = ((kernel * (TARGET / (own * (1.0 + RIDGE))) - y) ** 2).mean(dim=1)
    (slope,) = torch.autograd.grad((forward + backward).sum(), leaf)
    gradient: np.ndarray = slope.numpy()
    return gradient
