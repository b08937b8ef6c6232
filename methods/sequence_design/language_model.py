"""A small masked language model of a task's own sequences, in place of a large pretrained one.

BIB (Chen et al. 2023, arXiv 2301.02931) needs of its language model the mean of the last layer over
the positions, as a differentiable function of relaxed letters.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.sequence_design.instance import DesignTask
from .pretrained import PretrainedModel

WIDTH, LAYERS, HEADS = 64, 2, 4  # of the transformer
MASKED = 0.2  # share of the letters that training masks
STEPS, BATCH, RATE = 1500, 128, 2e-3
WARM_STEPS = 50
PACE_STEPS = 10  # first steps, timed to tell how many fit the seconds
CHUNK = 256  # sequences read at a time
# Of the sequences read at a time: letters, and pairs of them, each of which attends to the other.
MOST_LETTERS_READ, MOST_PAIRS_READ = 2**14, 2**21


class LanguageModel(nn.Module):
    """A transformer encoder over one-hot or relaxed letters, with learned positions.

    Args:
        letters: size of the alphabet, V.
        length: letters of a sequence, L.
    """

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

    def encode(self, soft: Tensor, masked: Tensor | None = None) -> Tensor:
        """Compute the last layer.

        Args:
            soft: float32 [B, L, V]; weight of each letter at each position.
            masked: bool [B, L]; positions whose letters are replaced by the mask; None for none.

        Returns:
            float32 [B, L, d].
        """
        tokens = self.embed(soft)
        if masked is not None:
            tokens = torch.where(masked.unsqueeze(2), self.mask, tokens)
        encoded: Tensor = self.encoder(tokens + self.place)
        return encoded

    def features(self, soft: Tensor) -> Tensor:
        """Average the last layer over positions: relaxed letters [B, L, V] to features [B, d]."""
        return self.encode(soft).mean(dim=1)


def pretrain(task: DesignTask, rng: np.random.Generator, seconds: float) -> LanguageModel:
    """Train a model to fill in masked letters of the offline sequences, and freeze it.

    Args:
        task: sealed or not; its scores are not used.
        rng: draws batches and masks, and seeds torch, which draws the first weights.
        seconds: wall-clock seconds for the training; fewer than STEPS steps are made to keep them.
    """
    torch.manual_seed(int(rng.integers(1 << 62)))
    model = LanguageModel(task.letters, task.length)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    started, steps, step = time.perf_counter(), STEPS, 0
    batch = rows_at_a_time(task, BATCH)
    while step < steps:
        rate = min(1.0, (step + 1) / WARM_STEPS) * 0.5 * (1.0 + np.cos(np.pi * step / steps))
        optimizer.param_groups[0]["lr"] = RATE * rate
        rows = rng.integers(len(task.sequences), size=batch)
        tokens = torch.as_tensor(task.sequences[rows].astype(np.int64))
        masked = torch.as_tensor(rng.random((batch, task.length)) < MASKED)
        masked[:, int(rng.integers(task.length))] = True
        soft = nn.functional.one_hot(tokens, task.letters).float()
        guesses = model.letter(model.encode(soft, masked)[masked])
        loss = nn.functional.cross_entropy(guesses, tokens[masked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        spent = time.perf_counter() - started
        if step == PACE_STEPS or (step < PACE_STEPS and spent > seconds):
            steps = max(step, min(STEPS, int(seconds * step / spent)))
    model.eval().requires_grad_(False)
    return model


def rows_at_a_time(task: DesignTask, most: int) -> int:
    """Return how many sequences are read at a time: fewer of long ones, which take longer."""
    return max(1, min(most, MOST_LETTERS_READ // task.length, MOST_PAIRS_READ // task.length**2))


@torch.inference_mode()
def offline_features(
    model: LanguageModel | PretrainedModel,
    task: DesignTask,
    rng: np.random.Generator,
    seconds: float,
) -> tuple[Tensor, np.ndarray]:
    """Compute features of the offline sequences, or of a random part of them if time is short.

    Args:
        model: the language model.
        task: sealed or not.
        rng: draws the order in which the rows are read.
        seconds: wall-clock seconds after which no further CHUNK of rows begins; the first is always
            read.

    Returns:
        Features float64 [n, d], and the rows of the offline set they belong to, int64 [n].
    """
    started, parts = time.perf_counter(), []
    order = rng.permutation(len(task.scores))
    chunk = rows_at_a_time(task, CHUNK)
    chunks = (order[first : first + chunk] for first in range(0, len(order), chunk))
    for rows in chunks:
        tokens = torch.as_tensor(task.sequences[rows].astype(np.int64))
        parts.append(model.features(nn.functional.one_hot(tokens, task.letters).float()).double())
        if time.perf_counter() - started > seconds:
            break
    features = torch.cat(parts)
    return features, order[: len(features)]
