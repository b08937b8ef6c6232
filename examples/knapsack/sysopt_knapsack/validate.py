"""The judge's second opinion: feasibility and objective from the items and the actions alone."""

from __future__ import annotations

import math

import numpy as np
from sysopt_gym.core.contracts import Verdict

from .instance import Items


def validate(items: Items, actions: np.ndarray) -> Verdict:
    """Add up the picked items, and refuse what cannot be picked.

    Args:
        items: the problem.
        actions: int64 [T], the picked items in order.
    """
    weight = value = 0
    for step, item in enumerate(actions.tolist(), start=1):
        if not 0 <= item < len(items.value):
            return Verdict(math.nan, False, (f"step {step}: there is no item {item}",))
        if item in actions[: step - 1]:
            return Verdict(math.nan, False, (f"step {step}: item {item} is picked already",))
        weight += int(items.weight[item])
        value += int(items.value[item])
        if weight > items.capacity:
            return Verdict(math.nan, False, (f"step {step}: item {item} is too heavy",))
    return Verdict(float(value), True, (), {"weight": float(weight)})
