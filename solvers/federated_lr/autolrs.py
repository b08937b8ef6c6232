"""AutoLRS: set the clients' rate by Bayesian optimization during training.

After Jin et al. 2021 (arXiv 2105.10762). Training is cut into stages. A stage keeps a checkpoint
and tries several rates from it, each for tau' = tau / 10 rounds; the loss after tau rounds is
predicted by an exponential fitted to the few losses seen; a Gaussian process over the logarithm of
the rate chooses, by its lower confidence bound, which rate to try next. Then training returns to
the checkpoint and plays the best rate for tau rounds. Rounds of search count like all others.

Scaled down from the paper, whose stages have thousands of steps:

- A trial costs tau' + 1 rounds: the loss that a round leads to is seen one step after its update,
  when another round has already been played, which is thrown away.
- There are 5 trials a stage, not 10, and T / 50 stages (at least one), so that the search takes
  about two fifths of the rounds: T = 20 has tau = 10 and tau' = 1, T = 50 and each half of 100 have
  tau = 30 and tau' = 3. Stages do not double in length as the released code's do. Below 20 rounds
  the search would take most of them: the rate stays.
- Rates are searched within a factor of 10 of the initial one, as FedHyper-SL's; the first trial of
  a stage is the present rate. A trial ends early when its loss has doubled. The kernel of the
  process is fixed, where the released code fits it.
- Losses are of the server's validation rows and hardly noisy; so they are fitted as they are,
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

TRIALS = 5  # rates tried a stage
STAGE = 50  # fewest rounds of a stage, unless the run is shorter
LEAST_ROUNDS = 20  # in shorter runs the rate stays
KAPPA = 1e6  # weight of the standard deviation in the released code: explore only
BROKEN = 2.0  # growth of the loss that ends a trial
CANDIDATES = 101  # rates among which the next trial is chosen
BASES = 600  # exponents tried in the fit, on a geometric grid
KERNEL = Matern(length_scale=0.5, nu=2.5)  # in decades; five losses are too few to fit the scale
NOISE = 1e-4  # variance of a loss's noise, as a share of the losses' variance


class AutoLRS(Controller):
    """Search beta at the start of each stage; alpha stays.

    Attributes:
        starts: steps at which stages start.
        tau: rounds of a stage after its search.
        limits: lowest and highest rate tried.
        tried: rates of this stage's trials, each with its predicted loss.
        losses: validation losses of the trial under way; None outside trials.
    """

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Plan the stages; see Controller.reset."""
        super().reset(terms, budget, seed)
        self.starts, self.tau = plan(terms.rounds)
        self.limits = (
            clip(terms.beta / GAMMA_BETA, *BETA_RANGE),
            clip(terms.beta * GAMMA_BETA, *BETA_RANGE),
        )
        self.tried: list[tuple[float, float]] = []  # rate, predicted loss
        self.losses: list[float] | None = None  # of the trial under way; None where none is

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Start a stage, continue or end a trial, or play the best rate; see Controller.act."""
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
    """Return tau', the rounds of a trial."""
    return max(1, tau // 10)


def plan(rounds: int) -> tuple[tuple[int, ...], int]:
    """Divide a run into stages.

    Returns:
        The steps at which stages start, none if there are fewer than LEAST_ROUNDS, and tau, the
        rounds that the search leaves of a stage.
    """
    if rounds < LEAST_ROUNDS:
        return (), 0
    stages = max(1, rounds // STAGE)
    length = rounds // stages
    tau = max(t for t in range(1, length) if TRIALS * (trial_rounds(t) + 1) + t <= length)
    return tuple(stage * length for stage in range(stages)), tau


def predict(losses: Sequence[float], tau: int) -> float:
    """Predict the loss after tau rounds (Jin et al. 2021).

    The fit is a e^{bx} + c with a, c >= 0 and -10 <= b <= -1 / tau, by least squares: time
    constants longer than the horizon cannot be told from a line. Fewer than three losses, or losses
    that have risen, are predicted to stay at the last one.

    Args:
        losses: after 0, 1, ... rounds; at least one.
        tau: rounds ahead, from the first loss.
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
    """Choose the next rate to try: the one of the least mean - kappa * deviation.

    Args:
        tried: rates and their predicted losses, at least one.
        limits: lowest and highest rate; CANDIDATES rates are spaced evenly on a log scale between
            them.
        kappa: weight of the deviation; the losses are standardized first.
    """
    rates, losses = (np.array(column) for column in zip(*tried, strict=True))
    process = GaussianProcessRegressor(KERNEL, alpha=NOISE, optimizer=None, normalize_y=True)
    process.fit(np.log10(rates)[:, None], losses)
    low, high = np.log10(limits)
    places = np.linspace(low, high, CANDIDATES)
    mean, deviation = process.predict(places[:, None], return_std=True)
    return float(10.0 ** places[np.argmin(mean - kappa * deviation)])
