"""Transform the values of a node's actions, so that they can be added to logits.

The transform sigma is that of Danihelka et al. 2022 (section 3.4), with untried actions completed
by a mixed value (appendix D).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .forest import NONE, Forest, Rule, best_untried

LEAST_RANGE = 1e-8


@njit(cache=True)
def sigma(forest: Forest, b: int, n: int, rule: Rule) -> tuple[float, float, float, int]:
    """Return the linear transform of a node's action values: scale * (q - low).

    Args:
        forest: the trees.
        b: index of the tree.
        n: index of the node.
        rule: settings of the search.

    Returns:
        low; scale = (c_visit + most visits) * c_scale / (high - low); the mixed value that stands
        for q of untried actions (appendix D); the visits of all actions of the node.
    """
    node = forest.nodes[b, n]
    visits, most, prior, weighted = 0, 0, 0.0, 0.0
    low, high = np.inf, -np.inf
    child = node.first
    while child != NONE:
        edge = forest.nodes[b, child]
        visits += edge.visits
        most = max(most, edge.visits)
        prior += edge.prior
        weighted += edge.prior * edge.q
        low, high = min(low, edge.q), max(high, edge.q)
        child = edge.next
    mixed = node.raw
    if visits > 0:
        mixed = (node.raw + visits * weighted / prior) / (1 + visits)
    if not rule.by_node:
        low, high = forest.bounds[b, 0], forest.bounds[b, 1]
    elif best_untried(forest, b, n) != NONE:
        low, high = min(low, mixed), max(high, mixed)
    return low, (rule.c_visit + most) * rule.c_scale / max(high - low, LEAST_RANGE), mixed, visits
