"""Bayesian optimization: a batch by expected improvement under a Gaussian process, the "BO-qEI" of
Design-Bench (Trabucco et al. 2022, arXiv 2202.08450).

The process is an exact one on the best of the offline set and a random rest of it. Its kernel falls
with the number of letters in which two sequences differ (Matern 1/2 on one-hot letters). Candidates
come of a mutation search by the expected improvement of each alone; of the best of them the batch
is put together one by one, each adding most to the expected improvement of all so far (Wilson et
al. 2018, arXiv 1805.10196, section 4), over joint samples of the posterior.

Offline, nothing answers between two batches, so that this is one acquisition; Design-Bench asks its
own proxy instead and goes on.
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
from ...methods.sequence_design.sequences import mutants, one_hot, some_rows

try:
    import gpytorch
    import torch
    from botorch.models import SingleTaskGP
    from botorch.optim.fit import fit_gpytorch_mll_scipy
except ModuleNotFoundError as error:
    raise MissingDependencyError("bo needs BoTorch; pip install 'sysopt-gym[bo]'") from error

MOST_ROWS = 1000  # of the offline set in the process: the best half of these, the rest drawn
FITTING_SHARE = 0.6 * TRAINING_SHARE  # of the seconds; a step of the optimizer may be long
CHOOSING_SHARE = 0.1  # of the seconds, kept for putting the batch together
CHILDREN = 512
MUTATIONS = 1.5  # a child, on average
SAMPLES = 1024  # of the posterior, joint over the candidates


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Fits the process, searches for candidates until nine tenths of the seconds are spent, and
    hands in the batch that they make; one evaluation is one candidate.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    improvement = Improvement(instance, clock, rng)
    pool = Pool(instance, improvement, clock)
    while not clock.expired and clock.remaining > CHOOSING_SHARE * budget.seconds:
        parents = pool.tokens[rng.integers(len(pool.tokens), size=CHILDREN)]
        pool.add(mutants(parents, instance.letters, MUTATIONS / instance.length, rng))
    samples = improvement.samples(pool.tokens, rng)
    chosen = greedy_batch(samples, improvement.incumbent, instance.batch_size)
    return hand_in(instance, pool.tokens[chosen], clock)


class Improvement:
    """Expected improvement on the offline set, in the place of a proxy's prediction.

    Attributes:
        incumbent: the highest mean of the process over the rows it was fitted to.
    """

    def __init__(self, task: DesignTask, clock: Clock, rng: np.random.Generator) -> None:
        self.task = task
        rows = some_rows(task, MOST_ROWS, rng)
        known = self._inputs(task.sequences[rows])
        scores = torch.as_tensor(scaled_scores(task)[rows])[:, None]
        kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=0.5))
        self.process = SingleTaskGP(known, scores, covar_module=kernel)
        likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(self.process.likelihood, self.process)
        with _exact(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the time is up
            fit_gpytorch_mll_scipy(likelihood, timeout_sec=FITTING_SHARE * clock.remaining)
        likelihood.eval()
        with _exact(), torch.no_grad():
            self.incumbent = float(self.process.posterior(known).mean.max())

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of sequences int8 [n, L], each alone (Jones et al. 1998, equation 15), and the process's
        deviation, float64 [n] each.
        """
        # Of all at once: BoTorch's own takes them as so many batches of one, 30 times slower.
        with _exact(), torch.no_grad():
            posterior = self.process.posterior(self._inputs(tokens))
            mean, deviation = posterior.mean.squeeze(1), posterior.variance.sqrt().squeeze(1)
            above = (mean - self.incumbent) / deviation
            density = torch.exp(-0.5 * above**2) / math.sqrt(2.0 * math.pi)
            expected = deviation * (density + above * torch.special.ndtr(above))
            return expected.numpy(), deviation.numpy()

    def samples(self, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Joint samples of the scores of sequences int8 [n, L], float64 [SAMPLES, n]."""
        with _exact(), torch.no_grad():
            posterior: Any = self.process.posterior(self._inputs(tokens))
            joint = posterior.distribution
            mean, covariance = joint.mean.numpy(), joint.covariance_matrix.numpy()
        return rng.multivariate_normal(mean, covariance, SAMPLES, "ignore", method="eigh")

    def _inputs(self, tokens: np.ndarray) -> torch.Tensor:
        letters = one_hot(self.task, tokens).astype(np.float64)
        return torch.as_tensor(letters.reshape(len(tokens), -1))


def greedy_batch(samples: np.ndarray, incumbent: float, size: int) -> list[int]:
    """Columns of joint samples [S, n], each the one that adds most to the expected improvement of
    all chosen before it on the incumbent; of equals the first.
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
    """No conjugate gradients: they are for more rows, and less exact."""
    return gpytorch.settings.max_cholesky_size(2 * MOST_ROWS)
