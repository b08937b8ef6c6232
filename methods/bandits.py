"""Bandits: which arm to play next, by the losses of those that were played.

Follow-the-regularized-leader plays arm i with probability p_i, where p minimizes <p, L> + R(p) /
eta over the simplex: L are the arms' estimated losses so far, of which only the played arm's is
ever seen (`estimate`). Its regularizer R is

- the log barrier, sum_i ln(1 / p_i) (`log_barrier`): losses may be of any size and sign (Dai, Luo,
  Wei and Zimmert 2023, arXiv 2301.12942);
- the negative entropy, sum_i p_i ln p_i (`exponential_weights`), which is Exp3 (Auer et al. 2002):
  the losses of eta times an estimate must not be much below -1.
"""

from __future__ import annotations

import math

import numpy as np

HALVINGS = 64  # of an interval as long as the number of arms, less 1


def log_barrier(losses: np.ndarray, eta: float) -> np.ndarray:
    """Return the probabilities of arms under the log barrier, float64 [K].

    p_i = 1 / (eta losses_i + nu), where nu, which makes them add up to 1, is found by bisection:
    with losses counted from the least, nu is from 1, where the best arm alone has 1, to K, where no
    arm has more than 1 / K.

    Args:
        losses: of the arms so far, float64 [K], of any sign.
        eta: learning rate, above 0.
    """
    above = eta * (losses - losses.min())
    low, high = 1.0, float(len(losses))
    for _ in range(HALVINGS):
        nu = 0.5 * (low + high)
        if (1.0 / (above + nu)).sum() > 1.0:
            low = nu
        else:
            high = nu
    odds = 1.0 / (above + high)
    probabilities: np.ndarray = odds / odds.sum()
    return probabilities


def exponential_weights(losses: np.ndarray, eta: float) -> np.ndarray:
    """Return the probabilities of arms under the negative entropy, float64 [K].

    Args:
        losses: of the arms so far, float64 [K].
        eta: learning rate, above 0.
    """
    odds = np.exp(-eta * (losses - losses.min()))
    probabilities: np.ndarray = odds / odds.sum()
    return probabilities


def learning_rate(arms: int, plays: int) -> float:
    """Return eta = sqrt(K ln T / T) of the log barrier, for K arms and T plays.

    Of losses in [-1, 1] it balances the two terms of the regret, K ln T / eta and eta T.

    Args:
        arms: K.
        plays: T; fewer than 2 count as 2.
    """
    plays = max(plays, 2)
    return math.sqrt(arms * math.log(plays) / plays)


def estimate(loss: float, arm: int, probabilities: np.ndarray) -> np.ndarray:
    """Return the unbiased estimate of all arms' losses that a play gives, float64 [K].

    Args:
        loss: of the played arm.
        arm: index of the arm.
        probabilities: with which it was drawn, float64 [K].
    """
    found = np.zeros(len(probabilities))
    found[arm] = loss / probabilities[arm]
    return found
