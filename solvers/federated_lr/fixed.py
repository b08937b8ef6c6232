"""Controllers that give the same order every round: FedAvg, server optimizers, client optimizers.

The rules themselves are part of the dynamics; a controller only names them.

- `fedavg`: McMahan et al. 2017 (arXiv 1602.05629).
- `fedavgm`: server momentum 0.9, Hsu et al. 2019 (arXiv 1909.06335), at the given server rate.
- `fedadagrad`, `fedadam`, `fedyogi`: Reddi et al. 2021 (arXiv 2003.00295). Their server rate is eta
  = 0.1 whatever the federation starts with, the default in Flower, as are (0.9, 0.99) and tau =
  1e-3 in the rule.
- `hypergradient`, `hypergradient_multiplicative`: Baydin et al. 2018 (arXiv 1703.04782), in each
  client, from the initial rate.
- `dog` (Ivgi et al. 2023, arXiv 2302.12022), `d_adaptation` (Defazio and Mishchenko 2023, arXiv
  2301.07733), `prodigy` (Mishchenko and Defazio 2024, arXiv 2306.06101), `schedule_free` (Defazio
  et al. 2024, arXiv 2405.15682): optimizers of the clients that need no tuned rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...envs.federated_lr.orders import order
from ...methods.federated_lr.controller import Controller

ETA = 0.1  # server rate of the adaptive server optimizers


class Constant(Controller):
    """Keep the initial rates in every round, with a server rule and a local rule.

    Args:
        server: one of SERVER_RULES (envs.federated_lr.orders).
        local: one of LOCAL_RULES (the same).
        alpha: server rate in place of the initial one; None for that.
    """

    def __init__(
        self, server: str = "average", local: str = "sgd", alpha: float | None = None
    ) -> None:
        self.server, self.local, self.fixed_alpha = server, local, alpha

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Return the same order every step; see Controller.act."""
        alpha = self.alpha if self.fixed_alpha is None else self.fixed_alpha
        return order(alpha, self.beta, self.server, self.local)


fedavg = Constant
fedavgm = partial(Constant, server="momentum")
fedadagrad = partial(Constant, server="adagrad", alpha=ETA)
fedadam = partial(Constant, server="adam", alpha=ETA)
fedyogi = partial(Constant, server="yogi", alpha=ETA)
hypergradient = partial(Constant, local="hypergradient")
hypergradient_multiplicative = partial(Constant, local="hypergradient_multiplicative")
dog = partial(Constant, local="dog")
d_adaptation = partial(Constant, local="d_adaptation")
prodigy = partial(Constant, local="prodigy")
schedule_free = partial(Constant, local="schedule_free")
