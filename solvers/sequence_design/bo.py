"""Bayesian optimization: one batch by expected improvement under a Gaussian process.

After the "BO-qEI" of Design-Bench (Trabucco et al. 2022, arXiv 2202.08450). The process is exact,
on the best rows of the offline set and random others. Its kernel falls with the number of letters
in which two sequences differ (Matern 1/2 on one-hot letters). A mutation search finds candidates by
the expected improvement of each alone; from the best of them the batch is chosen one by one, each
the one that adds most to the expected improvement of the batch so far (Wilson et al. 2018, arXiv
1805.10196, section 4), over joint samples of the posterior.

Offline, no measurement comes between two batches, so this is a single acquisition; Design-Bench
queries its own proxy instead and goes on.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ...core.budget import Budget, Clock
from ...core.errors import MissingDependencyError
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.proxy import scaled_scores
from ...methods.sequence_design.pool import TRAINING_SHARE, Pool, hand_in
from ...methods.sequence_design.sequences import best_and_random_rows, offspring, one_hot

try:
    import gpytorch
    import torch
    from botorch.models import SingleTaskGP
    from botorch.optim.fit import fit_gpytorch_mll_scipy
except ModuleNotFoundError as error:
    raise MissingDependencyError("bo needs BoTorch; pip install 'sysopt-gym[bo]'") from error

MOST_ROWS = 1000  # of the offline set in the process; half of them the best, the rest random
FITTING_SHARE = 0.6 * TRAINING_SHARE  # of the seconds left; a step of the optimizer may be long
CHOOSING_SHARE = 0.1  # share of the seconds kept for choosing the batch
CHILDREN = 512  # candidates a round
MUTATIONS = 1.5  # letters changed in a child, on average
SAMPLES = 1024  # joint samples of the posterior over the candidates


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Fit the process, search for candidates in most of the seconds, and choose a batch of them.

    After BO-qEI of Design-Bench (Trabucco et al. 2022) and Wilson et al. 2018, section 4.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds and evaluations; one evaluation is the expected improvement of one
            candidate.
        seed: draws the offline rows in the process, parents and mutations, and the posterior's
            samples.

    Returns:
        The chosen batch, in the order of choice.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    improvement = Improvement(instance, clock, rng)
    pool = Pool(instance, improvement, clock)
    while not clock.expired and clock.remaining > CHOOSING_SHARE * budget.seconds:
        parents = pool.tokens[rng.integers(len(pool.tokens), size=CHILDREN)]
        pool.add(offspring(instance, parents, MUTATIONS, rng))
    samples = improvement.samples(pool.tokens, rng)
    chosen = greedy_batch(
        samples, improvement.incumbent, min(instance.batch_size, len(pool.tokens))
    )
    return hand_in(instance, pool.tokens[chosen], clock)


class Improvement:
    """Expected improvement on the offline set under a Gaussian process; a Predictor for the pool.

    Args:
        task: the task.
        clock: of the run; fitting takes FITTING_SHARE of the seconds left, about.
        rng: draws the offline rows that the process is fitted to.

    Attributes:
        process: the fitted Gaussian process, in scaled scores.
        incumbent: the highest mean of the process over the rows it was fitted to.
    """

    def __init__(self, task: DesignTask, clock: Clock, rng: np.random.Generator) -> None:
        self.task = task
        rows = best_and_random_rows(task, MOST_ROWS, rng)
        known = self._inputs(task.sequences[rows])
        scores = torch.as_tensor(scaled_scores(task)[rows])[:, None]
        kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=0.5))
        self.process = SingleTaskGP(known, scores, covar_module=kernel)
        likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(self.process.likelihood, self.process)
        with _exact(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warning that the timeout was reached
            fit_gpytorch_mll_scipy(likelihood, timeout_sec=FITTING_SHARE * clock.remaining)
        likelihood.eval()
        with _exact(), torch.no_grad():
            self.incumbent = float(self.process.posterior(known).mean.max())

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute each sequence's expected improvement (Jones et al. 1998, equation 15).

        Args:
            tokens: int8 [n, L].

        Returns:
            Expected improvements and the process's standard deviations, float64 [n] each, in scaled
            scores.
        """
        # BoTorch's own acquisition would take each sequence as a batch of one, 30 times slower.
        with _exact(), torch.no_grad():
            posterior = self.process.posterior(self._inputs(tokens))
            mean, deviation = posterior.mean.squeeze(1), posterior.variance.sqrt().squeeze(1)
            above = (mean - self.incumbent) / deviation
            density = torch.exp(-0.5 * above**2) / math.sqrt(2.0 * math.pi)
            expected = deviation * (density + above * torch.special.ndtr(above))
            return expected.numpy(), deviation.numpy()

    def samples(self, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw joint samples of the scaled scores of sequences.

        Args:
            tokens: int8 [n, L].
            rng: draws the samples.

        Returns:
            float64 [SAMPLES, n].
        """
        with _exact(), torch.no_grad():
            posterior: Any = self.process.posterior(self._inputs(tokens))
            joint = posterior.distribution
            mean, covariance = joint.mean.numpy(), joint.covariance_matrix.numpy()
        return rng.multivariate_normal(mean, covariance, SAMPLES, "ignore", method="eigh")

    def _inputs(self, tokens: np.ndarray) -> torch.Tensor:
        letters = one_hot(self.task, tokens).astype(np.float64)
        return torch.as_tensor(letters.reshape(len(tokens), -1))


def greedy_batch(samples: np.ndarray, incumbent: float, size: int) -> list[int]:
    """Choose a batch one by one, each adding most to the expected improvement of those before it.

    Args:
        samples: float64 [S, n]; joint samples of the candidates' scores.
        incumbent: score to improve on.
        size: number of candidates to choose, at most n.

    Returns:
        Columns of `samples`, in the order of choice; ties go to the first.
    """
    reached = np.full(len(samples), incumbent)
    chosen: list[int] = []
    for _ in range(size):
        gains = np.maximum(samples - reached[:, None], 0.0).mean(axis=0)
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        reached = np.maximum(reached, samples[:, chosen[-1]])
    return chosen


def _exact() -> gpytorch.settings.max_cholesky_size:
    """Switch off conjugate gradients, which are for more rows and less exact."""
    return gpytorch.settings.max_cholesky_size(2 * MOST_ROWS)
