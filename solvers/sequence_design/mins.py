"""Model inversion networks (Kumar & Levine 2020, arXiv 1912.13464).

A generator learns the inverse map, from a score and noise to a sequence that has this score, on the
offline set reweighted: high scores count more, the less so the fewer they are (section 3.3).
Approx-Infer (section 3.2) then finds the highest score at which the proxy still agrees with the
generated sequences, and sequences are sampled for that score.

Differences from the paper and Design-Bench (Trabucco et al. 2022, arXiv 2202.08450): the generator
is a conditional variational autoencoder of the same latent width, not a Wasserstein network:
trained by likelihood it is ready after seconds on one core, in which the latter made fewer than two
hundred steps. High scores are preferred less sharply, so that the map has different scores to learn
from.
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
    at_a_time,
    fit_proxy_in_half_the_time,
    out_of_time,
)
from ...methods.sequence_design.sequences import decode

STEPS = 4000
BINS, CROWDED, TEMPERATURE, MOST_WEIGHT = 20, 1e-3, 0.3, 5.0  # see score_weights
LEVELS = np.linspace(1.0, 2.0, 11)  # target scores tried; 1 is the best measured
DISTRUST = 2.0  # weight of the proxy's disagreement against a higher score
SAMPLES, MOST_LETTERS = 512, 2**16  # sequences a sample, and letters of all of them


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Train the inverse map, find the score to aim at, and sample for it until the budget ends.

    Kumar & Levine 2020, sections 3.2 and 3.3.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which the proxy takes half at most and the inverse map half of the rest,
            and evaluations; one evaluation is one sampled sequence.
        seed: draws the training of proxy and generator, and the samples; it seeds torch, too.

    Returns:
        The best batch sampled, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = Pool(instance, fit_proxy_in_half_the_time(instance, clock, rng), clock)
    inverse = Autoencoder(instance.length, instance.letters, conditions=1)
    scores = scaled_scores(instance)
    until = clock.elapsed + TRAINING_SHARE * clock.remaining
    weights = score_weights(scores)
    fit(inverse, instance.sequences, scores[:, None], weights, STEPS, rng, clock, until)
    level = approx_infer(instance, inverse, pool, rng)
    while not out_of_time(clock):
        pool.add(sample(instance, inverse, level, rng))
    return pool.solution()


def score_weights(scores: np.ndarray) -> np.ndarray:
    """Weight offline rows by their scores (Kumar & Levine 2020, section 3.3).

    A row's weight is exp((score - 1) / TEMPERATURE), for its bin as a whole, less where the bin
    holds few rows; bins and limits are Design-Bench's.

    Args:
        scores: float64 [N]; scaled scores, from 0 to 1.

    Returns:
        float64 [N], at most MOST_WEIGHT.
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
    """Find the score to aim at (Kumar & Levine 2020, section 3.2).

    Equation 2's constraint is a penalty here.

    Args:
        task: the task.
        inverse: the trained generator.
        pool: scores the samples, and keeps the best.
        rng: draws the samples.

    Returns:
        The level of LEVELS with the largest level - DISTRUST * mean |prediction - level| over
        SAMPLES; of those that the time does for.
    """
    worth: list[float] = []
    for level in LEVELS:
        if worth and out_of_time(pool.clock):
            break
        values = pool.add(sample(task, inverse, level, rng))
        worth.append(level - DISTRUST * np.abs(values - level).mean())
    return float(LEVELS[int(np.argmax(worth))])


@torch.inference_mode()
def sample(
    task: DesignTask, inverse: Autoencoder, score: float, rng: np.random.Generator
) -> np.ndarray:
    """Sample feasible sequences that should have a given score.

    Args:
        task: the task.
        inverse: the trained generator.
        score: scaled score, 1 for the best measured one.
        rng: draws codes and letters.

    Returns:
        int8 [n, L], n at most SAMPLES.
    """
    count = at_a_time(task, SAMPLES, MOST_LETTERS)
    code = np.concatenate([rng.normal(size=(count, LATENT)), np.full((count, 1), score)], 1)
    logits = inverse.logits(torch.as_tensor(code).float()).numpy()
    return decode(task, logits + rng.gumbel(size=logits.shape))
