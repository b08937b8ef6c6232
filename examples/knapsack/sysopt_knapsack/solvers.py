"""Solvers: random orders, value per weight, and dynamic programming."""

from __future__ import annotations

import numpy as np
from sysopt_gym import Budget, Solution

from .instance import Items


def random(items: Items, budget: Budget, seed: int) -> Solution:
    """Pick items in random orders until the budget ends; keep the best.

    Args:
        items: the problem.
        budget: an evaluation is one order.
        seed: of the orders.
    """
    clock, rng = budget.start(), np.random.default_rng(seed)
    best: list[int] = []
    while not clock.expired:
        picked = _pick(items, rng.permutation(len(items.value)))
        clock.evaluations += 1
        if items.value[picked].sum() > items.value[best].sum():
            best = picked
            clock.incumbent(best)
    return clock.solution(best)


def greedy(items: Items, budget: Budget, seed: int) -> Solution:
    """Pick items by value per weight.

    Args:
        items: the problem.
        budget: not needed; the rule takes microseconds.
        seed: not needed; the rule is deterministic.
    """
    clock = budget.start()
    return clock.solution(_pick(items, np.argsort(-items.value / items.weight, kind="stable")))


def exact(items: Items, budget: Budget, seed: int) -> Solution:
    """Solve by dynamic programming over capacities (Bellman 1957).

    Args:
        items: the problem.
        budget: not needed; N * capacity steps.
        seed: not needed; the method is deterministic.
    """
    clock = budget.start()
    n = len(items.value)
    best = np.zeros((n + 1, items.capacity + 1), np.int64)  # of the first k items, by capacity
    for k, (value, weight) in enumerate(zip(items.value, items.weight, strict=True), start=1):
        best[k] = best[k - 1]
        without = best[k - 1, : max(items.capacity + 1 - weight, 0)]
        best[k, weight:] = np.maximum(best[k, weight:], without + value)
    picked, left = [], items.capacity
    for k in range(n, 0, -1):
        if best[k, left] != best[k - 1, left]:
            picked.append(k - 1)
            left -= int(items.weight[k - 1])
    return clock.solution(picked, "optimal", float(best[n, items.capacity]))


def _pick(items: Items, order: np.ndarray) -> list[int]:
    """Pick whatever still fits, in an order int64 [N]."""
    picked: list[int] = []
    left = items.capacity
    for item in order.tolist():
        if items.weight[item] <= left:
            picked.append(item)
            left -= int(items.weight[item])
    return picked
