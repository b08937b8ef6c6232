"""What the server makes of an update in hand: FedAvg, FedAvgM and FedOpt.

Arithmetic alone, so the same lines serve the lanes of the environment (torch, [E, P], rates [E, 1])
and a server of Flower's (NumPy, [P]).
"""

from __future__ import annotations

from typing import Any

MOMENTUM = 0.9  # FedAvgM (Hsu et al. 2019)
BETA_1, BETA_2, TAU = 0.9, 0.99, 1e-3  # FedOpt (Reddi et al. 2021), as Flower's defaults


def server_step(rule: str, alpha: Any, update: Any, m: Any, v: Any) -> Any:
    """The step of the weights, an array like the update; the moments m and v are changed in place.

    Args:
        rule: one of orders.SERVER_RULES.
        alpha: the server's rate.
        update: mean of the participants' updates, which points downhill.
        m: first moment.
        v: second moment.
    """
    if rule == "average":
        return alpha * update
    if rule == "momentum":
        m *= MOMENTUM
        m += update
        return alpha * m
    square = update**2
    if rule == "adagrad":
        v += square
        return alpha * update / (v**0.5 + TAU)
    m *= BETA_1
    m += (1 - BETA_1) * update
    if rule == "adam":
        v *= BETA_2
        v += (1 - BETA_2) * square
    else:
        sign = 1.0 * (v > square) - 1.0 * (v < square)
        v -= (1 - BETA_2) * square * sign
    return alpha * m / (v**0.5 + TAU)
