"""Conditioning by adaptive sampling (Brookes et al. 2019, arXiv 1901.10060, algorithm 1), set up as
in Design-Bench (Trabucco et al. 2022, arXiv 2202.08450). Uses numpy and torch.

A variational autoencoder of the offline set is refitted, again and again, to its own samples,
weighted by the chance that they score above a rising threshold and by how much likelier the first
model finds them, which keeps the search near the data.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from .common import Pool, learn, out_of_time

LATENT, WIDTH = 32, 128
FIRST_STEPS, STEPS, BATCH, RATE = 800, 40, 128, 1e-3
MODEL_SHARE = 0.3  # of the seconds left, for the first model
SAMPLES = 512
ITERATIONS = 20
PERCENTILE = 80.0
MOST_LOG_RATIO = 5.0
LEAST_SPREAD = 1e-3


class Autoencoder(nn.Module):
    """Letters [B, L, V] to a Gaussian over [B, LATENT] and back to logits."""

    def __init__(self, length: int, letters: int) -> None:
        super().__init__()
        size = length * letters
        self.shape = (length, letters)
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(size, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * LATENT)
        )
        self.decoder = nn.Sequential(nn.Linear(LATENT, WIDTH), nn.ReLU(), nn.Linear(WIDTH, size))

    def logits(self, latent: Tensor) -> Tensor:
        """Scores of letters, [B, L, V]."""
        decoded: Tensor = self.decoder(latent)
        return decoded.view(-1, *self.shape)

    def log_likelihood(self, tokens: Tensor, latent: Tensor) -> Tensor:
        """The decoder's log p(x | z) of tokens [B, L], [B]."""
        each = nn.functional.cross_entropy(
            self.logits(latent).transpose(1, 2), tokens, reduction="none"
        )
        return -each.sum(dim=1)

    def loss(self, tokens: Tensor) -> Tensor:
        """Negative evidence lower bound, [B]."""
        letters = nn.functional.one_hot(tokens, self.shape[1]).float()
        mean, log_scale = self.encoder(letters).chunk(2, dim=1)
        latent = mean + log_scale.exp() * torch.randn_like(mean)
        divergence = 0.5 * (mean**2 + (2 * log_scale).exp() - 1.0) - log_scale
        return divergence.sum(dim=1) - self.log_likelihood(tokens, latent)


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Runs until the budget ends, from the first model anew every ITERATIONS, and hands in the best
    of all sequences sampled; one evaluation is one sequence.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = Pool(instance, learn(instance, clock, rng), clock)
    first = Autoencoder(instance.length, instance.letters)
    until = clock.elapsed + MODEL_SHARE * clock.remaining
    known = np.array(instance.sequences)
    _fit(first, known, np.ones(len(known)), FIRST_STEPS, rng, clock, until)
    while not out_of_time(clock):
        _adapt(instance, pool, first, rng)
    return pool.solution()


def _adapt(task: DesignTask, pool: Pool, first: Autoencoder, rng: np.random.Generator) -> None:
    model = copy.deepcopy(first)
    threshold = -math.inf
    for _ in range(ITERATIONS):
        if out_of_time(pool.clock):
            break
        with torch.inference_mode():
            latent = torch.randn(SAMPLES, LATENT)
            logits = model.logits(latent)
            noise = torch.as_tensor(rng.gumbel(size=logits.shape))
            tokens = (logits + noise).argmax(dim=2)
            ratio = first.log_likelihood(tokens, latent) - model.log_likelihood(tokens, latent)
        sampled = tokens.numpy().astype(np.int8)
        values = pool.add(sampled)
        free = np.isfinite(values)
        if not free.any():
            continue
        _, spreads = pool.proxy.predict(sampled)
        threshold = max(threshold, float(np.percentile(values[free], PERCENTILE)))
        distance = (threshold - values) / np.maximum(spreads, LEAST_SPREAD)
        above = torch.special.ndtr(torch.as_tensor(-distance)).numpy()
        weights = np.where(free, above, 0.0) * ratio.clamp(max=MOST_LOG_RATIO).exp().numpy()
        if weights.sum() > 0:
            _fit(model, sampled, weights, STEPS, rng, pool.clock, math.inf)


def _fit(
    model: Autoencoder,
    sequences: np.ndarray,
    weights: np.ndarray,
    steps: int,
    rng: np.random.Generator,
    clock: Clock,
    until: float,
) -> None:
    """Fits to sequences int8 [n, L], drawn by their weights, until a moment at the latest."""
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    chances = weights / weights.sum()
    tokens = torch.as_tensor(sequences.astype(np.int64))
    for _ in range(steps):
        if clock.elapsed >= until or out_of_time(clock):
            break
        rows = rng.choice(len(sequences), BATCH, p=chances)
        loss = model.loss(tokens[torch.as_tensor(rows)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
