"""A small masked language model of a task's own sequences, and its features of relaxed ones.

It stands where BIB (Chen et al. 2023, arXiv 2301.02931) has a large pretrained one; what is needed
of either is the mean of the last layer over the positions, as a differentiable function of soft
letters.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.sequence_design.instance import DesignTask
from .pretrained import PretrainedModel

WIDTH, LAYERS, HEADS = 64, 2, 4
MASKED = 0.2  # of the letters
STEPS, BATCH, RATE = 1500, 128, 2e-3
WARM_STEPS = 50
PACE_STEPS = 10  # timed before the rest is planned
CHUNK = 256  # sequences a pass


class LanguageModel(nn.Module):
    """A transformer encoder over letters [B, L, V], whole or soft, with learned positions."""

    def __init__(self, letters: int, length: int) -> None:
        super().__init__()
        self.embed = nn.Linear(letters, WIDTH, bias=False)
        self.mask = nn.Parameter(torch.zeros(WIDTH))
        self.place = nn.Parameter(0.02 * torch.randn(length, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), False)
        self.letter = nn.Linear(WIDTH, letters)

    def hidden(self, soft: Tensor, hidden: Tensor | None = None) -> Tensor:
        """The last layer [B, L, d]; positions where bool [B, L] is true are masked out."""
        tokens = self.embed(soft)
        if hidden is not None:
            tokens = torch.where(hidden.unsqueeze(2), self.mask, tokens)
        encoded: Tensor = self.encoder(tokens + self.place)
        return encoded

    def features(self, soft: Tensor) -> Tensor:
        """The mean of the last layer over the positions, [B, d]."""
        return self.hidden(soft).mean(dim=1)


def pretrain(task: DesignTask, rng: np.random.Generator, seconds: float) -> LanguageModel:
    """Trains on the offline sequences to fill in masked letters, and freezes the model.

    Args:
        task: sealed or not; the scores are not looked at.
        rng: draws weights, batches and masks.
        seconds: training is cut to fit, by fewer steps.
    """
    torch.manual_seed(int(rng.integers(1 << 62)))
    model = LanguageModel(task.letters, task.length)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    sequences = torch.as_tensor(np.array(task.sequences), dtype=torch.long)
    started, steps, step = time.perf_counter(), STEPS, 0
    while step < steps:
        rate = min(1.0, (step + 1) / WARM_STEPS) * 0.5 * (1.0 + np.cos(np.pi * step / steps))
        optimizer.param_groups[0]["lr"] = RATE * rate
        rows = torch.as_tensor(rng.integers(len(sequences), size=BATCH))
        hidden = torch.as_tensor(rng.random((BATCH, task.length)) < MASKED)
        hidden[:, int(rng.integers(task.length))] = True
        soft = nn.functional.one_hot(sequences[rows], task.letters).float()
        guesses = model.letter(model.hidden(soft, hidden)[hidden])
        loss = nn.functional.cross_entropy(guesses, sequences[rows][hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step == PACE_STEPS:
            pace = (time.perf_counter() - started) / PACE_STEPS
            steps = max(PACE_STEPS, min(STEPS, int(seconds / pace)))
    model.eval().requires_grad_(False)
    return model


@torch.inference_mode()
def offline_features(
    model: LanguageModel | PretrainedModel,
    task: DesignTask,
    rng: np.random.Generator,
    seconds: float,
) -> tuple[Tensor, np.ndarray]:
    """Features of offline sequences, float64 [n, d], and their rows, int64 [n]: all of them, or a
    random part where the seconds are too few; at least CHUNK of them.
    """
    started, parts = time.perf_counter(), []
    order = rng.permutation(len(task.scores))
    chunks = [order[first : first + CHUNK] for first in range(0, len(order), CHUNK)]
    for rows in chunks:
        tokens = torch.as_tensor(task.sequences[rows].astype(np.int64))
        parts.append(model.features(nn.functional.one_hot(tokens, task.letters).float()).double())
        if time.perf_counter() - started > seconds:
            break
    features = torch.cat(parts)
    return features, order[: len(features)]
