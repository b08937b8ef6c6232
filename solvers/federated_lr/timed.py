"""Schedules as controllers, on the clients' rate or (`..._server`) on the server's.

Each schedule NAME of `schedules` is here as NAME and NAME_server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms
from ...envs.federated_lr.orders import order
from ...methods.federated_lr import schedules
from ...methods.federated_lr.controller import Controller
from .refinement import Refinement


class Scheduled(Controller):
    """Multiply an initial rate by the factor of the round.

    Args:
        schedule: one of `schedules`.
        rate: the rate to schedule. Step s sets beta of round s + 1 and alpha of round s.

    Attributes:
        factors: float64 [T]; of the rounds.
    """

    def __init__(
        self, schedule: schedules.Schedule, rate: Literal["alpha", "beta"] = "beta"
    ) -> None:
        self.schedule, self.rate = schedule, rate

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Compute the whole schedule; see Controller.reset."""
        super().reset(terms, budget, seed)
        self.factors = self.schedule(terms.rounds)

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Play the round's factor; see Controller.act."""
        played, last = info["step"], self.terms.rounds - 1
        if self.rate == "beta":
            self.beta = self.terms.beta * self.factors[min(played, last)]
        else:
            self.alpha = self.terms.alpha * self.factors[max(played - 1, 0)]
        return order(self.alpha, self.beta)


_FACTORIES: dict[str, Callable[[], Controller]] = {"refinement": Refinement}
_FACTORIES["refinement_server"] = partial(Refinement, "alpha")
for _name, _schedule in schedules.SCHEDULES.items():
    _FACTORIES[_name] = partial(Scheduled, _schedule)
    _FACTORIES[f"{_name}_server"] = partial(Scheduled, _schedule, "alpha")


def __getattr__(name: str) -> Callable[[], Controller]:
    """Look up the factory of a controller by a schedule's name, alone or with "_server"."""
    if name in _FACTORIES:
        return _FACTORIES[name]
    raise AttributeError(f"no schedule is called {name!r}")
