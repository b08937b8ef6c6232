"""A plan in an operator's form: round by round, the rates and rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import SolutionError
from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Federation
from .orders import (
    ALPHA,
    BETA,
    CHECKPOINT,
    CHECKPOINTS,
    LOCAL,
    LOCAL_RULES,
    SERVER,
    SIZES,
    rate_of,
    server_of,
)
from .server_rules import TAU


def export_plan(federation: Federation, actions: np.ndarray) -> list[dict[str, Any]]:
    """One row a step.

    Columns: step (0 to T); alpha and server_rule, by which the round's update is applied (none at
    step 0); beta and local_rule of the next round's clients (none after the last); checkpoint.

    Raises:
        SolutionError: an order outside the codes.
    """
    orders = np.asarray(actions, np.int64)
    if orders.ndim != 2 or orders.shape[1:] != (len(SIZES),):
        orders = np.full((1, len(SIZES)), -1)
    if ((orders < 0) | (orders >= SIZES)).any():
        raise SolutionError(
            f"{federation.name}: the plan holds orders outside the codes; `sysopt-gym validate` "
            "says which"
        )
    rows = []
    for step, row in enumerate(orders.tolist()):
        applies, sends = step > 0, step < federation.rounds
        rows.append(
            {
                "step": step,
                "alpha": f"{rate_of(row[ALPHA], ALPHA_RANGE):.6g}" if applies else "",
                "server_rule": _named(row[SERVER]) if applies else "",
                "beta": f"{rate_of(row[BETA], BETA_RANGE):.6g}" if sends else "",
                "local_rule": LOCAL_RULES[row[LOCAL]] if sends else "",
                "checkpoint": CHECKPOINTS[row[CHECKPOINT]],
            }
        )
    return rows


def _named(code: int) -> str:
    """Return a server rule by name, with its tau where that is not the usual one."""
    rule, tau = server_of(code)
    return rule if tau == TAU else f"{rule} (tau {tau:.6g})"
