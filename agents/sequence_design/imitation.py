"""Warm start of the sequence-design policy: from a solver's batches, or from the best measured
sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core.budget import Budget
from ...core.contracts import Solver
from ...core.errors import SettingError
from ...datasets.sequence_design.instance import DesignTask, seal
from ...envs.sequence_design.plan import designs_of
from ..batches import one_pass, step
from .network import SequencePolicy
from .playing import chosen, legal_at, log_policy

RANKED = 0.01  # of the offline set; ranks far below it hardly count


class Sample(NamedTuple):
    """A design to imitate, int64 [L], and the letters that were legal, bool [L, V]."""

    tokens: Tensor
    legal: Tensor


def lessons(
    network: SequencePolicy,
    instances: Sequence[DesignTask],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Sample]:
    """The designs of a solver's batches; see Recipe. States of own play are not used."""
    if solver is None:
        raise SettingError("imitation.contender: name the contender whose designs are imitated")
    samples = []
    for task in instances:
        plan = solver(seal(task), budget, 0).actions
        designs = designs_of(task, plan)
        tokens = torch.from_numpy(designs.astype(np.int64))
        samples += map(Sample, tokens, legal_at(task, designs))
    return samples


def imitate(
    network: SequencePolicy,
    samples: Sequence[Sample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> float:
    """One pass of cross-entropy over samples; returns its mean, a letter. See Recipe."""

    def loss_of(batch: Sequence[Sample]) -> tuple[Tensor, float]:
        tokens, legal = (torch.stack(part) for part in zip(*batch, strict=True))
        loss = surprise(network, tokens, legal)
        return loss, float(loss.detach())

    return one_pass(network, samples, optimizer, batch_size, rng, progress, loss_of)


def surprise(network: SequencePolicy, tokens: Tensor, legal: Tensor) -> Tensor:
    """Mean of -log P, a letter, of designs int64 [B, L]; see `log_policy`."""
    log_chances, _ = log_policy(network, tokens, legal)
    return -chosen(log_chances, tokens).mean()


def imitate_measured(
    network: SequencePolicy,
    task: DesignTask,
    optimizer: torch.optim.Optimizer,
    batches: int,
    batch_size: int,
    rng: np.random.Generator,
    enough: Callable[[], bool],
) -> None:
    """Cross-entropy to measured sequences, the better ones drawn more often, by 1 / (k N + rank)
    (Tripp et al. 2020, arXiv 2006.09191, section 3); so many batches, or until it is enough.
    """
    count = len(task.scores)
    ranks = np.argsort(np.argsort(-task.scores, kind="stable"), kind="stable")
    chances = 1.0 / (RANKED * count + ranks)
    chances /= chances.sum()
    for _ in range(batches):
        if enough():
            break
        rows = task.sequences[rng.choice(count, batch_size, p=chances)]
        tokens = torch.from_numpy(rows.astype(np.int64))
        step(network, optimizer, surprise(network, tokens, legal_at(task, rows)))
