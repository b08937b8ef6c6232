"""BDI: bidirectional learning for offline model-based optimization.

After Chen et al. 2022 (arXiv 2209.07507). Kernel ridge regression both ways, with the neural
tangent kernel of an infinitely wide rectified network of five hidden layers (Jacot et al. 2018,
arXiv 1806.07572): the offline set should predict the target score for a candidate, and the
candidate, labeled with the target score, should predict the offline set. Both losses weigh alike;
candidates descend their sum through straight-through letters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.distances import differences
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
from ...methods.sequence_design.pool import affordable_rows, hand_in, out_of_time
from ...methods.sequence_design.sequences import best_and_random_rows, decode, one_hot

DEPTH = 5  # hidden layers of the infinitely wide network
STEPS = 200
MOST_ROWS = 1500  # of the offline set in the kernel; half of them the best, the rest random
CHUNK = 64  # candidates differentiated at a time
INSIDE = 1.0 - 1e-6  # largest cosine; the kernel's slope is infinite at 1


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run BDI (Chen et al. 2022) from the start pool for STEPS steps, or until the budget ends.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds and evaluations; one evaluation is one step of one candidate.
        seed: draws the offline rows in the kernel and the noise on the first logits.

    Returns:
        The last distinct sequences of the candidates, those that the forward regression predicts
        best first.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    rows, y = _standardized_rows(instance, rng)
    known = torch.as_tensor(one_hot(instance, rows)).double()
    gram = tangent_kernel(alike(rows, rows))
    ridge = RIDGE * gram.trace() / len(gram)
    alpha = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), y)
    own = float(gram.diagonal().mean())

    def differentiate(part: np.ndarray) -> np.ndarray:
        return _gradient(instance, part, known, y, alpha, own)

    logits, adam = start_logits(instance, rng), Adam()
    logits = logits[: affordable_rows(logits, differentiate, clock)]
    visited = [decode(instance, logits)]
    for _ in range(STEPS):
        if out_of_time(clock):
            break
        parts = np.array_split(logits, -(-len(logits) // CHUNK))
        slopes = [differentiate(part) for part in parts]
        logits = logits - RATE * adam.direction(np.concatenate(slopes))
        clock.evaluations += len(logits)
        visited.append(decode(instance, logits))
    finals = finals_first(visited)[: instance.batch_size]
    kernel = tangent_kernel(alike(finals, rows))
    return hand_in(instance, best_first(finals, kernel @ alpha), clock)


def alike(some: np.ndarray, others: np.ndarray) -> Tensor:
    """Return the cosines between the one-hot letters of sequences: the shares of equal letters.

    Args:
        some: int8 [n, L].
        others: int8 [m, L].

    Returns:
        float64 [n, m].
    """
    length = some.shape[1]
    equal = length - differences(np.ascontiguousarray(some), others).astype(np.int64)
    return torch.as_tensor(equal / length)


def tangent_kernel(cosine: Tensor) -> Tensor:
    """Compute the neural tangent kernel between two sets of inputs of length 1.

    Args:
        cosine: float64 [n, m]; of each pair.

    Returns:
        float64 [n, m]; DEPTH + 1 for two equal inputs.
    """
    kernel = cosine
    for _ in range(DEPTH):
        inside = cosine.clamp(-INSIDE, INSIDE)
        angle = torch.arccos(inside)
        slope = 1.0 - angle / torch.pi
        cosine = torch.sqrt(1.0 - inside**2) / torch.pi + inside * slope
        kernel = kernel * slope + cosine
    return kernel


def _standardized_rows(task: DesignTask, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
    """Choose offline rows: int8 [N, L], and their standardized scores, float64 [N]."""
    rows = best_and_random_rows(task, MOST_ROWS, rng)
    scores = (task.scores - task.scores.mean()) / task.scores.std()
    return task.sequences[rows], torch.as_tensor(scores[rows])


def _gradient(
    task: DesignTask, logits: np.ndarray, known: Tensor, y: Tensor, alpha: Tensor, own: float
) -> np.ndarray:
    """Differentiate the sum of both losses by the logits, [n, L, V]."""
    leaf = torch.tensor(logits, requires_grad=True)
    letters = straight_through(task, leaf).double()
    kernel = tangent_kernel(torch.einsum("nlv,mlv->nm", letters, known) / task.length)
    forward = (kernel @ alpha - TARGET) ** 2
    backward = ((kernel * (TARGET / (own * (1.0 + RIDGE))) - y) ** 2).mean(dim=1)
    (slope,) = torch.autograd.grad((forward + backward).sum(), leaf)
    gradient: np.ndarray = slope.numpy()
    return gradient
