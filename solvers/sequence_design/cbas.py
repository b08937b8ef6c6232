"""Conditioning by adaptive sampling, CbAS (Brookes et al. 2019, arXiv 1901.10060, algorithm 1).

Set up as in Design-Bench (Trabucco et al. 2022, arXiv 2202.08450). A variational autoencoder of the
offline set is refitted, again and again, to its own samples, weighted by the probability that they
score above a rising threshold and by how much likelier the first model finds them, which keeps the
search near the data.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import repaired
from ...methods.sequence_design.autoencoder import LATENT, Autoencoder, fit, unconditional
from ...methods.sequence_design.pool import Pool, fit_proxy_in_half_the_time, out_of_time

FIRST_STEPS, STEPS = 800, 40  # training steps of the first model, and a refit
MODEL_SHARE = 0.3  # largest share of the seconds left for the first model
SAMPLES = 512  # sequences an iteration
ITERATIONS = 20
PERCENTILE = 80.0  # of the samples' values, which the threshold rises to
MOST_LOG_RATIO = 5.0  # largest log likelihood ratio of the two models
LEAST_SPREAD = 1e-3  # of a prediction


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run CbAS (Brookes et al. 2019, algorithm 1), again from the first model every ITERATIONS.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which fitting the proxy takes half at most, and evaluations; one
            evaluation is one candidate sequence.
        seed: draws the training of proxy and autoencoder, and the samples; it seeds torch, too.

    Returns:
        The best batch sampled, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    first = Autoencoder(instance.length, instance.letters)
    until = clock.elapsed + MODEL_SHARE * clock.remaining
    known = instance.sequences
    alike = np.ones(len(known))
    fit(first, known, unconditional(len(known)), alike, FIRST_STEPS, rng, clock, until)
    while not out_of_time(clock):
        _adapt(instance, pool, first, rng)
    return pool.solution()


def _adapt(task: DesignTask, pool: Pool, first: Autoencoder, rng: np.random.Generator) -> None:
    """Refit a copy of the first model to its own samples for ITERATIONS, or until time is up."""
    model = copy.deepcopy(first)
    threshold = -math.inf
    for _ in range(ITERATIONS):
        if out_of_time(pool.clock):
            break
        with torch.inference_mode():
            latent = torch.randn(SAMPLES, LATENT)
            logits = model.logits(latent)
            noise = torch.as_tensor(rng.gumbel(size=logits.shape))
            drawn = (logits + noise).argmax(dim=2).numpy().astype(np.int8)
            sampled = repaired(task, drawn, rng)
            tokens = torch.as_tensor(sampled.astype(np.int64))
            ratio = first.log_likelihood(tokens, latent) - model.log_likelihood(tokens, latent)
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
            fit(model, sampled, unconditional(SAMPLES), weights, STEPS, rng, pool.clock, math.inf)
