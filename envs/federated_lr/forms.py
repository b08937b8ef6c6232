"""What an action means in each of the environment's forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import IllegalActionError
from .grid import ACTIONS, mask_of, order_of_action, order_of_logs
from .orders import SIZES


def order_of(
    form: str, action: Any, alpha: float, beta: float, server: str, where: str
) -> np.ndarray:
    """The action as an order, int64 [5].

    Args:
        form: "grid", "continuous" or "orders"; see the environment.
        action: of that form.
        alpha: the server's rate that it starts from.
        beta: the clients'.
        server: the rule that alpha is the rate of; orders name theirs.
        where: what a message begins with.

    Raises:
        IllegalActionError: the action is not legal at these rates.
    """
    if form == "grid":
        mask, chosen = mask_of(alpha, beta), int(action)
        if not (0 <= chosen < ACTIONS and mask[chosen]):
            raise IllegalActionError(
                f"{where}: action {action} is not legal at alpha {alpha:.3g}, beta {beta:.3g}; "
                f"choose among observation['action_mask'], {np.flatnonzero(mask).tolist()}"
            )
        return order_of_action(chosen, alpha, beta, server)
    given = np.asarray(action)
    if form == "continuous":
        if given.shape != (2,) or not (np.abs(given) <= 1).all():
            raise IllegalActionError(f"{where}: action {action} is no pair of numbers from -1 to 1")
        return order_of_logs(given, alpha, beta, server)
    whole = given.shape == (len(SIZES),) and given.dtype.kind in "iu"
    if not whole or not ((given >= 0) & (given < SIZES)).all():
        raise IllegalActionError(
            f"{where}: {given.tolist()} is no order; make one with orders.order, whole numbers "
            f"below {SIZES}"
        )
    return given.astype(np.int64)
