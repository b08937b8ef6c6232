"""A variational autoencoder of sequences (Kingma & Welling 2014, arXiv 1312.6114), conditional or
not: the generator of cbas and of mins.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ...core.budget import Clock
from .pool import out_of_time

LATENT, WIDTH = 32, 128
BATCH, RATE = 128, 1e-3


class Autoencoder(nn.Module):
    """Letters [B, L, V] to a Gaussian over [B, LATENT] and back to logits, given C conditions."""

    def __init__(self, length: int, letters: int, conditions: int = 0) -> None:
        super().__init__()
        size = length * letters
        self.shape = (length, letters)
        self.encoder = nn.Sequential(
            nn.Linear(size + conditions, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * LATENT)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT + conditions, WIDTH), nn.ReLU(), nn.Linear(WIDTH, size)
        )

    def logits(self, code: Tensor) -> Tensor:
        """Scores of letters, [B, L, V], by latent values and conditions [B, LATENT + C]."""
        decoded: Tensor = self.decoder(code)
        return decoded.view(-1, *self.shape)

    def log_likelihood(self, tokens: Tensor, code: Tensor) -> Tensor:
        """The decoder's log p(x | z, c) of tokens [B, L], [B]."""
        each = nn.functional.cross_entropy(
            self.logits(code).transpose(1, 2), tokens, reduction="none"
        )
        return -each.sum(dim=1)

    def loss(self, tokens: Tensor, conditions: Tensor) -> Tensor:
        """Negative evidence lower bound of tokens [B, L] given conditions [B, C], [B]."""
        letters = nn.functional.one_hot(tokens, self.shape[1]).float().flatten(1)
        mean, log_scale = self.encoder(torch.cat([letters, conditions], 1)).chunk(2, dim=1)
        latent = mean + log_scale.exp() * torch.randn_like(mean)
        divergence = 0.5 * (mean**2 + (2 * log_scale).exp() - 1.0) - log_scale
        code = torch.cat([latent, conditions], 1)
        loss: Tensor = divergence.sum(dim=1) - self.log_likelihood(tokens, code)
        return loss


def fit(
    model: Autoencoder,
    sequences: np.ndarray,
    conditions: np.ndarray,
    weights: np.ndarray,
    steps: int,
    rng: np.random.Generator,
    clock: Clock,
    until: float,
) -> None:
    """Fits to sequences int8 [n, L] under conditions [n, C], drawn by their weights [n], until a
    moment at the latest.
    """
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    chances = weights / weights.sum()
    tokens = torch.as_tensor(sequences.astype(np.int64))
    given = torch.as_tensor(conditions.astype(np.float32))
    for _ in range(steps):
        if clock.elapsed >= until or out_of_time(clock):
            break
        rows = torch.as_tensor(rng.choice(len(sequences), BATCH, p=chances))
        loss = model.loss(tokens[rows], given[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def unconditional(count: int) -> np.ndarray:
    """No conditions for so many sequences, [count, 0]."""
    return np.zeros((count, 0))
