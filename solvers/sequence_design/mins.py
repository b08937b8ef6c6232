"""Model inversion networks (Kumar & Levine 2020, arXiv 1912.13464).

A generator learns the inverse map, from a score and noise to a sequence that has this score, on the
offline set reweighted: high scores count more, the less so the fewer they are (section 3.3). Then
Approx-Infer (section 3.2) looks for the highest score at which the proxy still agrees with what
comes out, and sequences are sampled for that.

Other than in the paper and Design-Bench (Trabucco et al. 2022, arXiv 2202.08450), the generator is
a conditional variational autoencoder of the same latent width, not a Wasserstein network: fitted by
likelihood it is ready after seconds on one core, in which that one made under two hundred steps.
High scores are preferred less sharply, so that the map has different scores to learn from.
"""

from __future__ import annotations

import numpy as np
import torch

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.proxy import scaled_scores
from ...methods.sequence_design.autoencoder import LATENT, Autoencoder, fit
from ...methods.sequence_design.pool import (
    TRAINING_SHARE,
    Pool,
    fit_proxy_in_half_the_time,
    out_of_time,
)
from ...methods.sequence_design.sequences import decode

STEPS = 4000
BINS, CROWDED, TEMPERATURE, MOST_WEIGHT = 20, 1e-3, 0.3, 5.0  # of the weights of scores
LEVELS = np.linspace(1.0, 2.0, 11)  # scores asked for; 1 is the best measured
DISTRUST = 2.0  # how many times the proxy's disagreement outweighs a higher score
SAMPLES = 512


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Trains the inverse map in half of what the proxy leaves, samples for the score that
    Approx-Infer finds until the seconds end, and hands in the best of all sequences sampled; one
    evaluation is one sequence.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    inverse = Autoencoder(instance.length, instance.letters, conditions=1)
    scores = scaled_scores(instance)
    until = clock.elapsed + TRAINING_SHARE * clock.remaining
    known, weights = np.array(instance.sequences), score_weights(scores)
    fit(inverse, known, scores[:, None], weights, STEPS, rng, clock, until)
    level = approx_infer(instance, inverse, pool, rng)
    while not out_of_time(clock):
        pool.add(sample(instance, inverse, level, rng))
    return pool.solution()


def score_weights(scores: np.ndarray) -> np.ndarray:
    """How often each of the scaled scores [N] is drawn, float64 [N]: by exp((score - 1) /
    TEMPERATURE) for its bin as a whole, less where the bin holds few (section 3.3; bins and limits
    as in Design-Bench).
    """
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    shares = np.bincount(bins, minlength=BINS) / len(scores)
    tops = np.arange(1, BINS + 1) / BINS
    worth = np.exp((tops - 1.0) / TEMPERATURE) * shares / (shares + CROWDED)
    weights: np.ndarray = np.minimum((worth / worth.sum())[bins] / shares[bins], MOST_WEIGHT)
    return weights


def approx_infer(
    task: DesignTask, inverse: Autoencoder, pool: Pool, rng: np.random.Generator
) -> float:
    """The score to ask for: as high as may be, less DISTRUST times how far the proxy's values of
    what comes out are from it on average; the constraint of equation 2 as a penalty.
    """
    worth = []
    for level in LEVELS:
        values = pool.add(sample(task, inverse, level, rng))
        worth.append(level - DISTRUST * np.abs(values - level).mean())
    return float(LEVELS[int(np.argmax(worth))])


@torch.inference_mode()
def sample(
    task: DesignTask, inverse: Autoencoder, score: float, rng: np.random.Generator
) -> np.ndarray:
    """Feasible sequences int8 [SAMPLES, L] for one scaled score."""
    code = np.concatenate([rng.normal(size=(SAMPLES, LATENT)), np.full((SAMPLES, 1), score)], 1)
    logits = inverse.logits(torch.as_tensor(code).float()).numpy()
    return decode(task, logits + rng.gumbel(size=logits.shape))
