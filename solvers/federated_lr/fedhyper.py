"""FedHyper: rates by hypergradient, the inner product of successive updates (Wang et al. 2024,
arXiv 2310.03156).

With Delta^t the update of round t, which points downhill, and kappa an explicit hyper-step (the
paper's is 1):

- G (Eq. 16): alpha^t = clip(alpha^{t-1} + kappa <Delta^t, Delta^{t-1}>, 1/3, 3) applies Delta^t
  itself.
- SL (Eq. 18): beta of the next round = clip(beta + kappa <Delta^t, Delta^{t-1}>, beta0 / 10,
  10 beta0). The clip is our reading: gamma_beta = 10 bounds the *ratio* to the initial rate. Read
  as a bound on the rate, as gamma_alpha is on alpha, it would allow [0.1, 10] only, which begins
  where the paper's initial rates end; the released code has fixed bounds [0.001, 0.1] instead.
- CL (Eq. 20): each client moves its own rate every step, by the local rule "fedhyper".
- FULL: G and CL.

The first hypergradient is there when two updates are, at step 2. Raw inner products scale with the
square of the clients' rate and steps and hardly move alpha on small models, so each stands beside a
scale-free form, rate x (1 + kappa cos(Delta^t, Delta^{t-1})) with kappa = 0.1 and the same clips
(the multiplicative rule of Baydin et al. 2018, arXiv 1703.04782, section 4, with normed gradients).

Unlike the released code, what SL sets does reach the clients, the initial alpha is the federation's
and not 1, and the server's sum is clipped where the rate is, so that it cannot run away unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...envs.federated_lr.orders import order
from ...methods.federated_lr.controller import GAMMA_ALPHA, GAMMA_BETA, Controller, clip

KAPPA, KAPPA_COSINE = 1.0, 0.1  # hyper-steps; the local rule has its own


class FedHyper(Controller):
    """Moves none, one or both rates by the hypergradient.

    Args:
        server: moves alpha (G). clients: moves beta for all clients (SL).
        local: lets each client move its own rate from beta (CL).
        cosine: the scale-free form.
    """

    def __init__(
        self,
        server: bool = False,
        clients: bool = False,
        local: bool = False,
        cosine: bool = False,
    ) -> None:
        self.server, self.clients, self.cosine = server, clients, cosine
        self.local = ("fedhyper_cosine" if cosine else "fedhyper") if local else "sgd"

    def act(self, observation: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Takes one hyper-step."""
        if self.server:
            self.alpha = clip(self._moved(self.alpha, info), 1.0 / GAMMA_ALPHA, GAMMA_ALPHA)
        if self.clients:
            initial = self.terms.beta
            moved = self._moved(self.beta, info)
            self.beta = clip(moved, initial / GAMMA_BETA, GAMMA_BETA * initial)
        return order(self.alpha, self.beta, local=self.local)

    def _moved(self, rate: float, info: Mapping[str, Any]) -> float:
        if self.cosine:
            return float(rate * (1.0 + KAPPA_COSINE * info["cosine"]))
        return float(rate + KAPPA * info["inner_product"])


fedhyper_g = partial(FedHyper, server=True)
fedhyper_sl = partial(FedHyper, clients=True)
fedhyper_cl = partial(FedHyper, local=True)
fedhyper_full = partial(FedHyper, server=True, local=True)
fedhyper_g_cosine = partial(FedHyper, server=True, cosine=True)
fedhyper_sl_cosine = partial(FedHyper, clients=True, cosine=True)
fedhyper_cl_cosine = partial(FedHyper, local=True, cosine=True)
fedhyper_full_cosine = partial(FedHyper, server=True, local=True, cosine=True)
