"""FedHyper: rates by hypergradient, the inner product of successive updates.

After Wang et al. 2024 (arXiv 2310.03156). With Delta^t the update of round t, which points
downhill, and kappa an explicit hyper-step (the paper's is 1):

- G (Eq. 16): alpha^t = clip(alpha^{t-1} + kappa <Delta^t, Delta^{t-1}>, 1/3, 3) applies Delta^t
  itself.
- SL (Eq. 18): beta of the next round = clip(beta + kappa <Delta^t, Delta^{t-1}>, beta0 / 10, 10
  beta0). The clip is our reading: gamma_beta = 10 bounds the *ratio* to the initial rate. As a
  bound on the rate itself, which gamma_alpha is on alpha, it would allow [0.1, 10] only, which
  begins where the paper's initial rates end; the released code has fixed bounds [0.001, 0.1]
  instead.
- CL (Eq. 20): each client changes its own rate every step, by the local rule "fedhyper".
- FULL: G and CL.

The first hypergradient exists at step 2, after two updates. Raw inner products scale with the
square of the clients' rate and steps and hardly change alpha on small models, so each form has a
scale-free variant: rate x (1 + kappa cos(Delta^t, Delta^{t-1})) with kappa = 0.1 and the same clips
(the multiplicative rule of Baydin et al. 2018, arXiv 1703.04782, section 4, with normalized
gradients).

Unlike in the released code, the rate that SL sets does reach the clients, the initial alpha is the
federation's and not 1, and the server's sum is clipped where the rate is, so that it cannot grow
unbounded behind the clip.
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
    """Change none, one or both rates by the hypergradient.

    Args:
        server: whether to change alpha (G).
        clients: whether to change beta, the same for all clients (SL).
        local: whether each client changes its own rate from beta on (CL).
        cosine: whether to use the scale-free form.
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
        """Take one hyper-step on each rate that changes; see Controller.act."""
        if self.server:
            self.alpha = clip(self._hyper_step(self.alpha, info), 1.0 / GAMMA_ALPHA, GAMMA_ALPHA)
        if self.clients:
            initial = self.terms.beta
            moved = self._hyper_step(self.beta, info)
            self.beta = clip(moved, initial / GAMMA_BETA, GAMMA_BETA * initial)
        return order(self.alpha, self.beta, local=self.local)

    def _hyper_step(self, rate: float, info: Mapping[str, Any]) -> float:
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
