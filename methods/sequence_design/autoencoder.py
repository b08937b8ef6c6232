"""A variational autoencoder of sequences, conditional or not: the generator of cbas and of mins.

After Kingma & Welling 2014 (arXiv 1312.6114).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ...core.budget import Clock
from .pool import out_of_time

LATENT, WIDTH = 32, 128  # dimensions of the code, and of the hidden layers
BATCH, RATE = 128, 1e-3


class Autoencoder(nn.Module):
    """Encode letters as a Gaussian over latent codes, and decode codes to logits of letters.

    Args:
        length: letters of a sequence, L.
        letters: size of the alphabet, V.
        conditions: numbers given to encoder and decoder beside a sequence, C; 0 for none.
    """

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
        """Decode latent values and conditions, float32 [B, LATENT + C], to logits [B, L, V]."""
        decoded: Tensor = self.decoder(code)
        return decoded.view(-1, *self.shape)

    def log_likelihood(self, tokens: Tensor, code: Tensor) -> Tensor:
        """Compute the decoder's log p(x | z, c).

        Args:
            tokens: int64 [B, L]; the sequences x.
            code: float32 [B, LATENT + C]; latent values z, then conditions c.

        Returns:
            float32 [B], in nats.
        """
        each = nn.functional.cross_entropy(
            self.logits(code).transpose(1, 2), tokens, reduction="none"
        )
        return -each.sum(dim=1)

    def loss(self, tokens: Tensor, conditions: Tensor) -> Tensor:
        """Compute the negative evidence lower bound by one sample of the code.

        Args:
            tokens: int64 [B, L]; the sequences.
            conditions: float32 [B, C]; their conditions.

        Returns:
            float32 [B], in nats; torch's generator draws the sample.
        """
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
    """Train an autoencoder on weighted sequences with Adam.

    Args:
        model: trained in place.
        sequences: int8 [n, L].
        conditions: float [n, C]; see `unconditional` for C = 0.
        weights: float [n], not negative; a batch draws rows in proportion to them, with
            replacement.
        steps: most steps of Adam.
        rng: draws the batches.
        clock: of the run; training ends early when it is out of time.
        until: seconds on the clock at which training ends early; inf for no such limit.
    """
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    chances = weights / weights.sum()
    for _ in range(steps):
        if clock.elapsed >= until or out_of_time(clock):
            break
        rows = rng.choice(len(sequences), BATCH, p=chances)
        tokens = torch.as_tensor(sequences[rows].astype(np.int64))
        given = torch.as_tensor(conditions[rows].astype(np.float32))
        loss = model.loss(tokens, given).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def unconditional(count: int) -> np.ndarray:
    """Return conditions for `count` sequences of a model without conditions, float64 [count, 0]."""
    return np.zeros((count, 0))
