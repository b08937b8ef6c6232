"""Refined linear decay: a schedule from the gradient norms of the run itself.

After Defazio et al. 2023 (arXiv 2310.07831, "When, why and how much?"). The paper runs once,
filters the norms, and computes the schedule for a second run. Here there is one run; so at every
round the schedule is computed from the norms so far, with the last filtered value for the rounds to
come, and of that schedule the present round's factor is used. The filter treats the two ends of a
run otherwise than the authors' code does, which `Refinement(edges="authors")` does as they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ...core.budget import Budget
from ...core.errors import MissingDependencyError
from ...datasets.federated_lr.instance import Terms
from ...envs.federated_lr.orders import order
from ...methods.federated_lr.controller import Controller

try:
    from scipy.ndimage import median_filter
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "refinement needs SciPy; pip install 'sysopt-gym[solvers]'"
    ) from error

WIDTH = 0.1  # of the median filter, as a share of the rounds
Edges = Literal["reflect", "authors"]
FLOOR = 1e-6  # least norm, as a share of the largest


def refine(norms: np.ndarray) -> np.ndarray:
    """Compute the factors of a schedule from gradient norms (Defazio et al. 2023).

    eta_t is proportional to w_t (w_{t+1} + ... + w_{T+1}) with w = norm^-2 (for SGD), and at most
    1. Constant norms give the linear schedule.

    Args:
        norms: float64 [T + 1]; of the models that rounds 1..T start from, and of the last one.

    Returns:
        float64 [T].
    """
    scaled = norms / norms.max() if norms.max() > 0 else np.ones_like(norms)
    weights = np.maximum(scaled, FLOOR) ** -2.0
    to_come = weights[::-1].cumsum()[::-1]
    steps = weights[:-1] * to_come[1:]
    factors: np.ndarray = steps / steps.max()
    return factors


def forecast(seen: Sequence[float], rounds: int, edges: Edges = "reflect") -> np.ndarray:
    """Filter the norms seen so far and hold the last value for the rounds to come.

    The median filter is as wide as a tenth of the rounds, an odd number.

    Args:
        seen: gradient norms so far, from 1 to T + 1 of them.
        rounds: T.
        edges: how the filter goes on beyond the norms: "reflect" mirrors them at both ends, and is
            at least 3 wide;
            "authors" mirrors the last ones without the very last, two widths long, and repeats the
            first, as the authors' code does.

    Returns:
        float64 [T + 1].
    """
    norms = np.asarray(seen, np.float64)
    if edges == "reflect":
        width = max(3, 2 * (round(WIDTH * rounds) // 2) + 1)
        past = median_filter(norms, width, mode="reflect")
    else:
        width = 2 * (int(WIDTH * rounds) // 2) + 1
        padded = np.pad(norms, (0, 2 * width), mode="reflect")
        past = median_filter(padded, width, mode="nearest")[: len(norms)]
    return np.concatenate([past, np.full(rounds + 1 - len(past), past[-1])])


class Refinement(Controller):
    """Play the refined schedule on one of the two rates.

    Args:
        rate: the rate to schedule. Round s + 1's beta and round s's alpha are set at step s, after
            s norms.
        edges: of the filter; see forecast.

    Attributes:
        seen: gradient norms so far.
    """

    def __init__(self, rate: Literal["alpha", "beta"] = "beta", edges: Edges = "reflect") -> None:
        self.rate, self.edges = rate, edges

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Forget the norms; see Controller.reset."""
        super().reset(terms, budget, seed)
        self.seen: list[float] = []

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Compute the schedule anew and play its present round; see Controller.act."""
        played, rounds = info["step"], self.terms.rounds
        if played:
            self.seen.append(info["gradient_norm"])
        factors = refine(forecast(self.seen or [1.0], rounds, self.edges))
        if self.rate == "beta":
            self.beta = self.terms.beta * factors[min(played, rounds - 1)]
        else:
            self.alpha = self.terms.alpha * factors[max(played - 1, 0)]
        return order(self.alpha, self.beta)
