"""Controllers that give the same order every round: FedAvg, server optimizers, client optimizers.

The rules themselves are part of the dynamics; a controller only names them.

- `fedavg`: McMahan et al. 2017 (arXiv 1602.05629).
- `fedavgm`: server momentum 0.9, Hsu et al. 2019 (arXiv 1909.06335), at the given server rate.
- `fedadagrad`, `fedadam`, `fedyogi`: Reddi et al. 2021 (arXiv 2003.00295, Alg. 2), with moments
  (0.9, 0.99), tau = 1e-3 and eta = 0.1, whatever rate the federation starts with. `fedadagrad` is
  Flower's.
- `fedadam_flower`, `fedyogi_flower`: the same as Flower plays them by default: FedAdam with its
  correction of early rounds' rate, FedYogi with eta = 0.01.
- These five take other values as arguments: `fedyogi(eta=0.03, tau=1e-4)`.
- `hypergradient`, `hypergradient_multiplicative`: Baydin et al. 2018 (arXiv 1703.04782), in each
  client, from the initial rate.
- `dog` (Ivgi et al. 2023, arXiv 2302.12022), `d_adaptation` (Defazio and Mishchenko 2023, arXiv
  2301.07733), `prodigy` (Mishchenko and Defazio 2024, arXiv 2306.06101), `schedule_free` (Defazio
  et al. 2024, arXiv 2405.15682): optimizers of the clients that need no tuned rate, the last three
  as their authors' packages have them. `d_adaptation_half` leaves the factor of 2 out of the
  estimated distance, `prodigy_dual_averaging` is the other form in that paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...core.errors import SettingError
from ...datasets.federated_lr.instance import ALPHA_RANGE
from ...envs.federated_lr.orders import order, server_code
from ...envs.federated_lr.server_rules import TAU
from ...methods.federated_lr.controller import Controller

ETA = 0.1  # server rate of the adaptive server optimizers
FLOWER_YOGI_ETA = 0.01  # of Flower's FedYogi


class Constant(Controller):
    """Keep the initial rates in every round, with a server rule and a local rule.

    Args:
        server: one of SERVER_RULES (envs.federated_lr.orders).
        local: one of LOCAL_RULES (the same).
        eta: server rate in place of the initial one; None for that.
        tau: added to the denominator of the adaptive server rules.

    Raises:
        SettingError: eta or tau is outside its range, or the server rule has no tau.
    """

    def __init__(
        self,
        server: str = "average",
        local: str = "sgd",
        eta: float | None = None,
        tau: float = TAU,
    ) -> None:
        low, high = ALPHA_RANGE
        if eta is not None and not low <= eta <= high:
            raise SettingError(f"eta is {eta}; give a server rate from {low:g} to {high:g}")
        server_code(server, tau)
        self.server, self.local, self.eta, self.tau = server, local, eta, tau

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Return the same order every step; see Controller.act."""
        alpha = self.alpha if self.eta is None else self.eta
        return order(alpha, self.beta, self.server, self.local, tau=self.tau)


fedavg = Constant
fedavgm = partial(Constant, server="momentum")
fedadagrad = partial(Constant, server="adagrad", eta=ETA)
fedadam = partial(Constant, server="adam", eta=ETA)
fedyogi = partial(Constant, server="yogi", eta=ETA)
fedadam_flower = partial(Constant, server="adam_corrected", eta=ETA)
fedyogi_flower = partial(Constant, server="yogi", eta=FLOWER_YOGI_ETA)
hypergradient = partial(Constant, local="hypergradient")
hypergradient_multiplicative = partial(Constant, local="hypergradient_multiplicative")
dog = partial(Constant, local="dog")
d_adaptation = partial(Constant, local="d_adaptation")
d_adaptation_half = partial(Constant, local="d_adaptation_half")
prodigy = partial(Constant, local="prodigy")
prodigy_dual_averaging = partial(Constant, local="prodigy_dual_averaging")
schedule_free = partial(Constant, local="schedule_free")
