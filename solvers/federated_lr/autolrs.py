"""AutoLRS: the clients' rate by Bayesian optimization on the fly (Jin et al. 2021, arXiv
2105.10762).

Training is cut into stages. A stage keeps a checkpoint and tries some rates from it, each for
tau' = tau / 10 rounds; the loss after tau rounds is predicted by an exponential through the few
losses seen; a Gaussian process over the logarithm of the rate, by its lower confidence bound, says
which rate to try next. Then it returns to the checkpoint and plays the best rate for tau rounds.
Rounds of search are rounds like all others.

Scaled down from the paper, whose stages have thousands of steps:

- A trial costs tau' + 1 rounds: the loss that a round leads to is seen one step after its update,
  when another round has already been played, which is thrown away.
- There are 5 trials a stage, not 10, and T / 50 stages (at least one), so that the search takes
  about two fifths of the rounds: T = 20 has tau = 10 and tau' = 1, T = 50 and each half of 100
  have tau = 30 and tau' = 3. Below 20 rounds the search would take most of them: the rate stays.
- Rates are sought within a factor of 10 of the initial one, as FedHyper-SL's; the first trial of a
  stage is the present rate. A trial ends early when its loss has doubled.
- Losses are of the server's validation rows and hardly noisy, so that they are fitted as they are,
  without the paper's spline and without its first phase on training losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...core.errors import MissingDependencyError
from ...datasets.federated_lr.instance import BETA_RANGE, Terms
from ...envs.federated_lr.orders import order
from ...methods.federated_lr.controller import GAMMA_BETA, Controller, clip

try:
    from scipy.optimize import nnls
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "autolrs needs scikit-learn and SciPy; pip install 'sysopt-gym[solvers]'"
    ) from error

TRIALS = 5
STAGE = 50  # rounds of a stage, about
LEAST_ROUNDS = 20
KAPPA = 1e6  # weight of the standard deviation; the released code's: explore only
BROKEN = 2.0  # a trial ends when the loss has grown by this factor
CANDIDATES = 101
BASES = 600  # exponents tried in the fit, one percent apart
KERNEL = Matern(length_scale=0.5, nu=2.5)  # over decades; five losses cannot tell the scale
NOISE = 1e-4  # of a loss, as a share of the variance of the losses


class AutoLRS(Controller):
    """Searches beta at the start of each stage; alpha stays."""

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Plans the stages."""
        super().reset(terms, budget, seed)
        self.starts, self.tau = plan(terms.rounds)
        self.limits = (
            clip(terms.beta / GAMMA_BETA, *BETA_RANGE),
            clip(terms.beta * GAMMA_BETA, *BETA_RANGE),
        )
        self.tried: list[tuple[float, float]] = []  # rate, predicted loss
        self.losses: list[float] | None = None  # of the trial under way; None where none is

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Begins a stage, goes on with a trial, or ends it and begins the next or settles."""
        if info["step"] in self.starts:
            self.tried, self.losses = [], []
            return order(self.alpha, self.beta, checkpoint="keep")
        if self.losses is None:
            return order(self.alpha, self.beta)
        self.losses.append(info["validation_loss"])
        tried = len(self.losses) - 1  # rounds; the first loss is of the checkpoint, updated
        if tried < trial_rounds(self.tau) and self.losses[-1] <= BROKEN * self.losses[0]:
            return order(self.alpha, self.beta)
        self.tried.append((self.beta, predict(self.losses, self.tau)))
        if len(self.tried) < TRIALS:
            self.beta, self.losses = propose(self.tried, self.limits, KAPPA), []
        else:
            self.beta, self.losses = min(self.tried, key=lambda trial: trial[1])[0], None
        return order(self.alpha, self.beta, checkpoint="return")


def trial_rounds(tau: int) -> int:
    """tau', rounds of a trial."""
    return max(1, tau // 10)


def plan(rounds: int) -> tuple[tuple[int, ...], int]:
    """The steps at which stages start (none where there are too few rounds), and tau: as many
    rounds of a stage as the search leaves.
    """
    if rounds < LEAST_ROUNDS:
        return (), 0
    stages = max(1, rounds // STAGE)
    length = rounds // stages
    tau = max(t for t in range(1, length) if TRIALS * (trial_rounds(t) + 1) + t <= length)
    return tuple(stage * length for stage in range(stages)), tau


def predict(losses: Sequence[float], tau: int) -> float:
    """The loss after tau rounds, from those after 0, 1, .. rounds.

    Fits a e^{bx} + c with a, c >= 0 and -10 <= b <= -1 / tau by least squares: time constants
    longer than the horizon cannot be told from a line. Fewer than three losses, or losses that have
    risen, are predicted to stay.
    """
    seen = np.asarray(losses, np.float64)
    if len(seen) < 3 or seen[-1] >= seen[0]:
        return float(seen[-1])
    x = np.arange(len(seen))
    best, predicted = math.inf, float(seen[-1])
    for b in -np.geomspace(1.0 / tau, 10.0, BASES):
        (a, c), residual = nnls(np.stack([np.exp(b * x), np.ones(len(x))], axis=1), seen)
        if residual < best:
            best, predicted = residual, float(a * math.exp(b * tau) + c)
    return predicted


def propose(
    tried: Sequence[tuple[float, float]], limits: tuple[float, float], kappa: float
) -> float:
    """The rate of least mean - kappa * deviation, among CANDIDATES evenly over the logarithm.

    Args:
        tried: rates and their predicted losses, at least one.
        limits: lowest and highest rate.
        kappa: see above; the losses are standardized first.
    """
    rates, losses = (np.array(column) for column in zip(*tried, strict=True))
    process = GaussianProcessRegressor(KERNEL, alpha=NOISE, optimizer=None, normalize_y=True)
    process.fit(np.log10(rates)[:, None], losses)
    low, high = np.log10(limits)
    places = np.linspace(low, high, CANDIDATES)
    mean, deviation = process.predict(places[:, None], return_std=True)
    return float(10.0 ** places[np.argmin(mean - kappa * deviation)])
