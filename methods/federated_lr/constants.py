"""Fixed rates of a server rule and of the clients, with and without decay, and how they train.

Rates that are the same for every federation, whatever rates it begins with; solvers play them, and
oracles and benchmarks search among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ...datasets.federated_lr.instance import CURVE, Federation
from ...envs.federated_lr.dynamics import make_dynamics
from ...envs.federated_lr.orders import order
from ...envs.federated_lr.statistics import DIVERGED_ABOVE
from .schedules import SCHEDULES

CONSTANT = "constant"
LANES = 128  # plans that train side by side
DECAYS = (CONSTANT, "cosine", "linear")
BETAS = (0.03, 0.1, 0.3, 1.0, 3.0)
ALPHAS = {
    "average": (0.5, 1.0, 2.0), "momentum": (0.1, 0.3, 1.0), "adam": (0.01, 0.03, 0.1, 0.3)
}  # fmt: skip


class Rates(NamedTuple):
    """Rates of all rounds.

    Attributes:
        server: one of SERVER_RULES (envs.federated_lr.orders).
        alpha: the server's rate, of the first round.
        beta: the clients' rate, likewise.
        decay: one of DECAYS: how rates fall to 0.
        both: whether the clients' rate falls too; else only the server's.
    """

    server: str
    alpha: float
    beta: float
    decay: str = CONSTANT
    both: bool = False

    def plan(self, rounds: int) -> np.ndarray:
        """Return the orders of a run of T rounds, int64 [T + 1, 5]."""
        factors = np.ones(rounds) if self.decay == CONSTANT else SCHEDULES[self.decay](rounds)
        steps = np.arange(rounds + 1)
        alphas = self.alpha * factors[np.maximum(steps - 1, 0)]
        betas = self.beta * (factors[np.minimum(steps, rounds - 1)] if self.both else 1.0)
        pairs = np.broadcast(alphas, betas)
        return np.array([order(alpha, beta, self.server) for alpha, beta in pairs])


# The best of their kind on every eleventh federation of mixed:train, by the mean final accuracy of
# the server's validation rows:
#   python -m sysopt_gym.benchmarks.federated_constants --out results/federated-constants
BEST = {
    "fedavg_constant": Rates("average", 1.0, 0.1),
    "fedavgm_constant": Rates("momentum", 0.3, 0.1),
    "fedadam_constant": Rates("adam", 0.03, 0.1),
    "fedavg_decay": Rates("average", 2.0, 0.1, "cosine"),
    "fedavgm_decay": Rates("momentum", 1.0, 0.1, "linear", both=True),
    "fedadam_decay": Rates("adam", 0.1, 0.03, "linear"),
}


def candidates() -> list[Rates]:
    """List ALPHAS x BETAS, each pair constant and with every decay, of the server's rate alone and
    of both.
    """
    falls = [(CONSTANT, False), *product(DECAYS[1:], (False, True))]
    return [
        Rates(server, alpha, beta, *fall)
        for server, rates in ALPHAS.items()
        for alpha, beta, fall in product(rates, BETAS, falls)
    ]


class Course(NamedTuple):
    """How training went by each of n plans.

    Attributes:
        accuracies: round by round, float64 [n, T]; 0 after divergence.
        steps: orders that were taken, int64 [n]: T + 1, fewer of a plan that diverged.
    """

    accuracies: np.ndarray
    steps: np.ndarray


def train(f: Federation, plans: Sequence[np.ndarray], seed: int) -> Course:
    """Train by plans that hold no checkpoints, LANES side by side, in one world.

    Args:
        f: the federation; measured are its test rows, or where it is sealed those for validation.
        plans: int64 [T + 1, 5] each.
        seed: of the world.
    """
    parts = [_train(f, plans[at : at + LANES], seed) for at in range(0, len(plans), LANES)]
    return Course(*map(np.concatenate, zip(*parts, strict=True)))


def _train(f: Federation, plans: Sequence[np.ndarray], seed: int) -> Course:
    """Train by plans side by side; see `train`."""
    lanes = make_dynamics([f] * len(plans))
    for lane in range(len(plans)):
        lanes.begin(lane, f, seed)
    orders = np.stack(plans)
    found = np.zeros((len(plans), f.rounds))
    going = np.arange(len(plans))
    for step in range(f.rounds + 1):
        lanes.step(orders[going, step], going)
        if step:
            found[going, step - 1] = _measured(lanes, f, going)
        going = going[~lanes.statistics.diverged[going]]
        if not len(going):
            break
    return Course(found, lanes.statistics.step.copy())


def _measured(lanes: Any, f: Federation, going: np.ndarray) -> np.ndarray:
    """Measure accuracies of the lanes int64 [n], float64 [n]; 0 for a diverged model."""
    if f.model == CURVE or f.sealed:
        accuracy: np.ndarray = lanes.statistics.validation_accuracy[going]
        return accuracy
    s = lanes.statistics
    lost = s.diverged[going] & (s.validation_loss[going] >= DIVERGED_ABOVE * s.initial_loss[going])
    return np.where(lost, 0.0, lanes.accuracies(f, going))
