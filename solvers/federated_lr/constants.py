"""Fixed rates that did best over the training federations, whatever rates a federation begins with:
BEST in methods/federated_lr/constants.py.

- `fedavg_constant`, `fedavgm_constant`, `fedadam_constant`: the best constant pair under averaging
  (McMahan et al. 2017), momentum (Hsu et al. 2019) and FedAdam (Reddi et al. 2021).
- `fedavg_decay`, `fedavgm_decay`, `fedadam_decay`: the best pair and decay to 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.federated_lr.instance import Terms
from ...methods.federated_lr.constants import BEST, Rates
from ...methods.federated_lr.controller import Controller


class Fixed(Controller):
    """Play the same rates in every federation.

    Args:
        rates: of all rounds.
    """

    def __init__(self, rates: Rates) -> None:
        self.rates = rates

    def reset(self, terms: Terms, budget: Budget, seed: int) -> None:
        """Make the whole plan; see Controller.reset."""
        super().reset(terms, budget, seed)
        self.plan = self.rates.plan(terms.rounds)

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Return the step's order; see Controller.act."""
        order: np.ndarray = self.plan[info["step"]]
        return order


fedavg_constant = partial(Fixed, BEST["fedavg_constant"])
fedavgm_constant = partial(Fixed, BEST["fedavgm_constant"])
fedadam_constant = partial(Fixed, BEST["fedadam_constant"])
fedavg_decay = partial(Fixed, BEST["fedavg_decay"])
fedavgm_decay = partial(Fixed, BEST["fedavgm_decay"])
fedadam_decay = partial(Fixed, BEST["fedadam_decay"])
