"""Schedules as controllers, on the clients' rate or (`..._server`) on the server's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms
from ...envs.federated_lr.orders import order
from . import schedules
from .controller import Controller
from .refinement import Refinement


class Scheduled(Controller):
    """Multiplies an initial rate by the factor of the round.

    Args:
        schedule: of `schedules`.
        rate: which rate. Step s sets beta of round s + 1 and alpha of round s.
    """

    def __init__(
        self, schedule: schedules.Schedule, rate: Literal["alpha", "beta"] = "beta"
    ) -> None:
        self.schedule, self.rate = schedule, rate

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Lays the whole schedule out."""
        super().reset(terms, budget, seed)
        self.factors = self.schedule(terms.rounds)

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Reads the round's factor."""
        played, last = info["step"], self.terms.rounds - 1
        if self.rate == "beta":
            self.beta = self.terms.beta * self.factors[min(played, last)]
        else:
            self.alpha = self.terms.alpha * self.factors[max(played - 1, 0)]
        return order(self.alpha, self.beta)


linear = partial(Scheduled, schedules.linear)
cosine = partial(Scheduled, schedules.cosine)
cyclic_cosine = partial(Scheduled, schedules.cyclic_cosine)
step = partial(Scheduled, schedules.step)
exponential = partial(Scheduled, schedules.exponential)
one_cycle = partial(Scheduled, schedules.one_cycle)
rex = partial(Scheduled, schedules.rex)
wsd = partial(Scheduled, schedules.wsd)
wsd_s = partial(Scheduled, schedules.wsd_s)
wsdc = partial(Scheduled, schedules.wsdc)
infinite = partial(Scheduled, schedules.infinite)
rewarm_redecay = partial(Scheduled, schedules.rewarm_redecay)
slow_start_fast_decay = partial(Scheduled, schedules.slow_start_fast_decay)
power = partial(Scheduled, schedules.power)
uba = partial(Scheduled, schedules.uba)
refinement = Refinement
linear_server = partial(Scheduled, schedules.linear, "alpha")
cosine_server = partial(Scheduled, schedules.cosine, "alpha")
cyclic_cosine_server = partial(Scheduled, schedules.cyclic_cosine, "alpha")
step_server = partial(Scheduled, schedules.step, "alpha")
exponential_server = partial(Scheduled, schedules.exponential, "alpha")
one_cycle_server = partial(Scheduled, schedules.one_cycle, "alpha")
rex_server = partial(Scheduled, schedules.rex, "alpha")
wsd_server = partial(Scheduled, schedules.wsd, "alpha")
wsd_s_server = partial(Scheduled, schedules.wsd_s, "alpha")
wsdc_server = partial(Scheduled, schedules.wsdc, "alpha")
infinite_server = partial(Scheduled, schedules.infinite, "alpha")
rewarm_redecay_server = partial(Scheduled, schedules.rewarm_redecay, "alpha")
slow_start_fast_decay_server = partial(Scheduled, schedules.slow_start_fast_decay, "alpha")
power_server = partial(Scheduled, schedules.power, "alpha")
uba_server = partial(Scheduled, schedules.uba, "alpha")
refinement_server = partial(Refinement, "alpha")
