"""Closed-form dynamics: learning curves that follow the annealing scaling law.

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

FLOOR, SCALE, EXPONENT, ANNEALING, MEMORY, MOST = range(6)  # of a law; see instance.LAW
# Of a lane: the sums and m, the last rate (0 before the first), clients' rate of the round in hand.
STATE = S1, S2, FALLS, RATE, PENDING = range(5)


def losses_of(laws: np.ndarray, s1: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """Compute losses by the scaling law, float64 [n]; never below 0.

    Args:
        laws: float64 [n, 6], columns FLOOR to MOST.
        s1: sum of the rates so far, float64 [n].
        s2: sum of the annealing momenta so far, float64 [n].
    """
    falls = laws[:, SCALE] * s1 ** -laws[:, EXPONENT]
    losses: np.ndarray = np.maximum(laws[:, FLOOR] + falls - laws[:, ANNEALING] * s2, 0.0)
    return losses


class Curves:
    """Federations of closed-form curves; see dynamics.Dynamics."""

    def __init__(self, federations: Sequence[Federation]) -> None:
        """Make room for a federation in each lane.

        Args:
            federations: one for each lane.
        """
        self.federations = list(federations)
        self.statistics: Statistics = blank(len(federations))
        self._laws = np.array([federation.law for federation in federations])
        self._now, self._kept = np.zeros((2, len(federations), len(STATE)))

    def begin(self, lane: int, federation: Federation, seed: int) -> None:
        """Start a lane again; see Dynamics. The seed changes nothing."""
        self.federations[lane], self._laws[lane] = federation, federation.law
        self._now[lane] = self._kept[lane] = federation.law[MOST], 0.0, 0.0, 0.0, 0.0
        (loss,) = losses_of(self._laws[[lane]], self._now[[lane], S1], self._now[[lane], S2])
        self.statistics.clear(lane, federation, float(loss), float(np.exp(-loss)))

    def step(self, orders: np.ndarray, lanes: np.ndarray | None = None) -> None:
        """Obey an order in each lane; see Dynamics. Server and local rules make no difference."""
        lanes = np.arange(len(self.federations)) if lanes is None else lanes
        s, wishes = self.statistics, orders[:, CHECKPOINT]
        if (wishes != GO_ON).any():
            keep, back = lanes[wishes == KEEP], lanes[(wishes != GO_ON) & (wishes != KEEP)]
            self._kept[keep], self._now[back] = self._now[keep], self._kept[back]
        s.alpha[lanes] = [rate_of(code, ALPHA_RANGE) for code in orders[:, ALPHA].tolist()]
        s.beta[lanes] = [rate_of(code, BETA_RANGE) for code in orders[:, BETA].tolist()]
        moving = lanes[s.step[lanes] > 0]
        if len(moving):
            self._apply(moving)
        s.step[lanes] += 1
        going = lanes[(s.step[lanes] <= s.rounds[lanes]) & ~s.diverged[lanes]]
        if len(going):
            self._train(going)

    def _apply(self, lanes: np.ndarray) -> None:
        """Apply the last round of lanes int64 [n] at the rates of its clients and its server."""
        s, laws, now = self.statistics, self._laws[lanes], self._now[lanes]
        eta = s.alpha[lanes] * now[:, PENDING]
        fall = np.where(now[:, RATE] > 0, now[:, RATE] - eta, 0.0)
        now[:, FALLS] = laws[:, MEMORY] * now[:, FALLS] + fall
        now[:, S1] += eta
        now[:, S2] += now[:, FALLS]
        now[:, RATE] = eta
        self._now[lanes] = now
        losses = losses_of(laws, now[:, S1], now[:, S2])
        losses = np.where(eta <= laws[:, MOST], losses, np.inf)
        s.validated(lanes, losses, np.exp(-losses))

    def _train(self, lanes: np.ndarray) -> None:
        """Make up the clients' answers in lanes int64 [n]."""
        s, most, rate = self.statistics, self._laws[lanes, MOST], self._now[lanes, RATE]
        self._now[lanes, PENDING] = s.beta[lanes]
        losses = s.validation_loss[lanes]
        slopes = np.sqrt(losses)
        norms = s.beta[lanes] * slopes
        cosines = np.where(rate > 0, np.clip(1.0 - 2.0 * rate / most, -1.0, 1.0), 0.0)
        s.trained(lanes, losses, slopes, norms, norms**2, cosines * norms**2, norms)

    def draw_future(self, seed: int) -> None:
        """Do nothing: a curve leaves nothing to chance; see Dynamics."""

    def fork(self) -> Curves:
        """Return a copy in the same state that goes its own way."""
        twin = copy.copy(self)
        twin.federations, twin._laws = list(self.federations), self._laws.copy()
        twin._now, twin._kept = self._now.copy(), self._kept.copy()
        twin.statistics = copy.deepcopy(self.statistics)
        return twin
