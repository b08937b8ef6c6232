"""A bandit among fixed rates, within one training: follow-the-regularized-leader with the log
barrier.

The rule is that of Dai, Luo, Wei and Zimmert (2023, arXiv 2301.12942): an arm is drawn with
probability p_i = 1 / (eta L_i + nu), and L_i grows by its loss over p_i when it was played, with
eta = sqrt(K ln T / T) for K arms and T draws. Losses may be of any size and sign; here a round's
is what the logarithm of the validation loss rose by, in units of UNIT, at most LARGEST of them
either way.

What is not theirs: an arm is played for BLOCK rounds before the next is drawn; a round's loss
counts as soon as it is seen, one step after the round's update was applied, so that the last round
of a block counts one draw late; and the first block is FIRST's, whose rounds count as if it had
been drawn with even odds. Forgetting old losses, and beginning anew when participants see a jump of
their loss, were tried on training federations, and were no better.

The arms differ in the clients' rate alone, under averaging, which keeps nothing on the server that
a change of arm would spoil: of the constant pairs of averaging, the one that did best over
federations of drifting:train, and the one that adds most to it where each federation has the better
of the two (benchmarks/rate_bandits.py, which BLOCK is from too).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms
from ...envs.federated_lr.env import LEAST_LOSS
from ...envs.federated_lr.statistics import TINY
from ...methods.bandits import estimate, learning_rate, log_barrier
from ...methods.federated_lr.constants import Rates
from ...methods.federated_lr.controller import Controller

ARMS = Rates("average", 2.0, 0.1), Rates("average", 2.0, 0.3)
FIRST = 1  # index of the arm that begins
BLOCK = 10  # rounds an arm is played for
UNIT, LARGEST = 0.02, 30.0  # of losses: a rise of the validation loss by 2 %; units
Rule = Callable[[np.ndarray, float], np.ndarray]


class FTRL(Controller):
    """Choose among fixed rates by follow-the-regularized-leader with the log barrier.

    Args:
        block: rounds an arm is played for.
        rule: (the arms' losses float64 [K], eta) -> their probabilities float64 [K].

    Attributes:
        eta: learning rate.
        losses: estimates of the arms' losses so far, float64 [K].
    """

    def __init__(self, block: int = BLOCK, rule: Rule = log_barrier) -> None:
        self.block, self.rule = block, rule

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Forget all losses; see Controller.reset."""
        super().reset(terms, budget, seed)
        self.rng = np.random.default_rng(seed)
        self.eta = learning_rate(len(ARMS), math.ceil(terms.rounds / self.block))
        self.losses = np.zeros(len(ARMS))
        self._plans = [one.plan(terms.rounds) for one in ARMS]
        self._drawn: list[tuple[int, np.ndarray]] = []  # the arm of each step, and probabilities
        self._level = math.nan  # logarithm of the validation loss of the step before

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Learn the loss of the round that was applied, and return the arm's order; see
        Controller.act.
        """
        step = info["step"]
        least = max(LEAST_LOSS * info["initial_loss"], TINY)
        level = math.log(max(info["validation_loss"], least))
        if step >= 2:  # the clients' rate of step s is seen in the validation loss of step s + 2
            arm, probabilities = self._drawn[step - 2]
            loss = min(max((level - self._level) / UNIT, -LARGEST), LARGEST)
            self.losses += estimate(loss, arm, probabilities)
        self._level = level
        if step % self.block:
            self._drawn.append(self._drawn[-1])
        else:
            probabilities = self.rule(self.losses, self.eta)
            arm = int(self.rng.choice(len(ARMS), p=probabilities)) if step else FIRST
            self._drawn.append((arm, probabilities))
        order: np.ndarray = self._plans[self._drawn[-1][0]][step]
        return order
