"""Closed-form dynamics: a learning curve that follows the annealing scaling law, microseconds a
round. Uses numpy.

After rates eta_1..eta_s (alpha times beta) the loss is
    floor + scale * S1**-exponent - annealing * S2,
S1 = sum of eta_i, S2 = sum of m_i, m_i = lambda m_{i-1} + (eta_{i-1} - eta_i) (Tissue, Wang & Wang,
arXiv 2408.11029). S1 begins at `most`, as if one round at that rate had warmed up; accuracy is
exp(-loss). A rate above `most` diverges. What servers see beside losses is made up, so that signs
and orders are as in training: slopes shrink with the loss, and successive updates agree below half
of `most` and disagree above it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Federation
from .orders import ALPHA, BETA, CHECKPOINT, GO_ON, KEEP, rate_of
from .statistics import Statistics, blank

FLOOR, SCALE, EXPONENT, ANNEALING, MEMORY, MOST = range(6)


def loss_of(law: np.ndarray, s1: float, s2: float) -> float:
    """The law; never below 0."""
    loss = law[FLOOR] + law[SCALE] * s1 ** -law[EXPONENT] - law[ANNEALING] * s2
    return max(float(loss), 0.0)


class Curves:
    """Learning curves side by side; played as dynamics.Lanes are.

    Attributes:
        statistics: what the servers know now, one row a lane.
    """

    def __init__(self, federations: Sequence[Federation]) -> None:
        self.federations = list(federations)
        self.statistics: Statistics = blank(len(federations))
        # S1, S2, m, the last rate (0 before the first), and the rate of the round in hand.
        self._now, self._kept = np.zeros((2, len(federations), 5))

    def begin(self, lane: int, federation: Federation, seed: int) -> None:
        """Starts a lane anew; the seed changes nothing."""
        self.federations[lane] = federation
        self._now[lane] = self._kept[lane] = federation.law[MOST], 0.0, 0.0, 0.0, 0.0
        loss = loss_of(federation.law, float(federation.law[MOST]), 0.0)
        self.statistics.clear(lane, federation, loss, float(np.exp(-loss)))

    def step(self, orders: np.ndarray, lanes: np.ndarray | None = None) -> None:
        """Takes an order, int64 [E, 5], in each of the lanes; rules are not looked at."""
        lanes = np.arange(len(self.federations)) if lanes is None else lanes
        for lane, order in zip(lanes.tolist(), orders.tolist(), strict=True):
            self._step(lane, order)

    def _step(self, lane: int, order: list[int]) -> None:
        s, at, law = self.statistics, np.array([lane]), self.federations[lane].law
        if order[CHECKPOINT] != GO_ON:
            source, goal = (
                (self._now, self._kept) if order[CHECKPOINT] == KEEP else (self._kept, self._now)
            )
            goal[lane] = source[lane]
        s.alpha[lane] = rate_of(order[ALPHA], ALPHA_RANGE)
        s.beta[lane] = rate_of(order[BETA], BETA_RANGE)
        now = self._now[lane]
        if s.step[lane] > 0:
            eta = float(s.alpha[lane] * now[4])
            fall = now[3] - eta if now[3] > 0 else 0.0
            now[2] = law[MEMORY] * now[2] + fall
            now[0] += eta
            now[1] += now[2]
            now[3] = eta
            loss = loss_of(law, now[0], now[1]) if eta <= law[MOST] else np.inf
            s.validated(at, np.array([loss]), np.array([np.exp(-loss)]))
        s.step[lane] += 1
        if s.step[lane] <= s.rounds[lane] and not s.diverged[lane]:
            now[4] = s.beta[lane]
            loss = s.validation_loss[lane]
            slope = np.sqrt(loss)
            norm = now[4] * slope
            cosine = np.clip(1.0 - 2.0 * now[3] / law[MOST], -1.0, 1.0) if now[3] > 0 else 0.0
            numbers = (loss, slope, norm, norm**2, cosine * norm**2, norm)
            s.trained(at, *(np.array([number]) for number in numbers))

    def fork(self) -> Curves:
        """Curves in the same state that go their own way."""
        twin = copy.copy(self)
        twin.federations = list(self.federations)
        twin._now, twin._kept = self._now.copy(), self._kept.copy()
        twin.statistics = copy.deepcopy(self.statistics)
        return twin
