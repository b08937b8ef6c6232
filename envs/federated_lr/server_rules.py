"""What the server makes of an update in hand: FedAvg, FedAvgM and FedOpt. Uses torch.

All lanes at once: weights w, update D (points downhill) and the states m, v are [E, P], rates
alpha [E, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

MOMENTUM = 0.9  # FedAvgM (Hsu et al. 2019)
BETA_1, BETA_2, TAU = 0.9, 0.99, 1e-3  # FedOpt (Reddi et al. 2021), as Flower's defaults


def apply_update(rule: str, alpha: Tensor, update: Tensor, m: Tensor, v: Tensor) -> Tensor:
    """The step of the weights [E, P]; m and v are changed in place.

    Args:
        rule: one of orders.SERVER_RULES.
        alpha: rates [E, 1].
        update: mean of the participants' updates.
        m: first moment.
        v: second moment.
    """
    if rule == "average":
        return alpha * update
    if rule == "momentum":
        m.mul_(MOMENTUM).add_(update)
        return alpha * m
    square = update**2
    if rule == "adagrad":
        v.add_(square)
        return alpha * update / (v.sqrt() + TAU)
    m.mul_(BETA_1).add_((1 - BETA_1) * update)
    if rule == "adam":
        v.mul_(BETA_2).add_((1 - BETA_2) * square)
    else:
        v.sub_((1 - BETA_2) * square * torch.sign(v - square))
    return alpha * m / (v.sqrt() + TAU)
