"""What the server makes of an update in hand: FedAvg, FedAvgM and FedOpt.

Arithmetic alone, so the same lines serve the lanes of the environment (torch, [E, P], rates [E, 1])
and a server of Flower's (NumPy, array by array).
"""

from __future__ import annotations

from typing import Any

MOMENTUM = 0.9  # FedAvgM (Hsu et al. 2019)
BETA_1, BETA_2, TAU = 0.9, 0.99, 1e-3  # FedOpt (Reddi et al. 2021), as Flower's defaults


def server_step(
    rule: str, alpha: Any, update: Any, m: Any, v: Any, tau: float = TAU, turn: Any = 1
) -> Any:
    """The step of the weights, an array like the update; the moments m and v are changed in place.

    Args:
        rule: one of orders.SERVER_RULES. "adam" is FedAdam as Reddi et al. 2021 have it (Alg. 2),
            "adam_corrected" as Flower has it: its rate is corrected for the moments' start at 0 by
            sqrt(1 - BETA_2^(t + 1)) / (1 - BETA_1^(t + 1)) in round t.
        alpha: the server's rate.
        update: mean of the participants' updates, which points downhill.
        m: first moment.
        v: second moment.
        tau: added to the root of the second moment.
        turn: number of the round whose update it is, from 1.
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
        return alpha * update / (v**0.5 + tau)
    m *= BETA_1
    m += (1 - BETA_1) * update
    if rule == "yogi":
        sign = 1.0 * (v > square) - 1.0 * (v < square)
        v -= (1 - BETA_2) * square * sign
    else:
        v *= BETA_2
        v += (1 - BETA_2) * square
    if rule == "adam_corrected":
        alpha = alpha * (1 - BETA_2 ** (turn + 1.0)) ** 0.5 / (1 - BETA_1 ** (turn + 1.0))
    return alpha * m / (v**0.5 + tau)
