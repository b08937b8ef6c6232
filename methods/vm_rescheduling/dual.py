"""The prices with the lowest bound L (pricing.py), by cutting planes in a trust region.

L is convex in the prices and has a dozen of them, so some tens of evaluations, each linear in the
number of PMs, find its least value, where column generation would need a program that grows with
the cluster. With far fewer moves than PMs, that value is often what a greedy plan reaches.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from ...core.budget import Clock
from .pricing import Nodes, Prices, slope

RADIUS, SHRINKS = 0.5, 0.9  # of the trust region, in slots; factor after a step that is no better
TOLERANCE = 0.25  # slots: bounds are rounded down to whole ones
MOST_STEPS = 200


def lowest(nodes: Nodes, mnl: int, first: Prices, clock: Clock, until: float) -> Prices:
    """Find prices at which L is about lowest.

    Args:
        nodes: the cluster.
        mnl: the most moves.
        first: prices to start from.
        clock: of the run.
        until: seconds into the run after which no evaluation begins.

    Returns:
        The best prices met, at least those to start from.
    """
    ones, twos = len(nodes.single), len(nodes.double)

    def named(at: np.ndarray) -> Prices:
        return Prices(at[:ones].copy(), at[ones : ones + twos].copy(), float(at[-1]))

    at = best = np.concatenate([first.single, first.double, [first.move]])
    least, radius = np.inf, RADIUS
    cuts = np.zeros((0, len(at) + 1))  # L >= slope . prices + constant
    constants = np.zeros(0)
    objective = np.append(np.zeros(len(at)), 1.0)
    for _ in range(MOST_STEPS):
        if clock.elapsed > until:
            break
        value, downhill = slope(nodes, mnl, named(at))
        if value < least:
            least, best = value, at
        else:
            radius *= SHRINKS
        cuts = np.vstack([cuts, np.append(downhill, -1.0)])
        constants = np.append(constants, downhill @ at - value)
        near = np.column_stack([np.maximum(0.0, best - radius), best + radius])
        model = linprog(objective, cuts, constants, bounds=[*near, (None, None)], method="highs")
        if model.x is None or least - model.fun < TOLERANCE:
            break
        at = (model.x[:-1] + best) / 2
    return named(best)
