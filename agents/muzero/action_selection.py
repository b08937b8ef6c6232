"""Choose the action of a simulation: Gumbel scores at the root, lag of visits below it.

At the root, sequential halving says which actions are visited next (Danihelka et al. 2022,
Algorithm 2); at other nodes, the visits follow the improved policy (section 5).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .forest import LEAST_PRIOR, NONE, Forest, Rule, best_untried
from .qtransforms import sigma


@njit(cache=True)
def root_slot(forest: Forest, b: int, wanted: int, rule: Rule) -> int:
    """Choose the considered action with the best score of those visited `wanted` times (Algorithm
    2).

    The score of action a is gumbel(a) + logits(a) + sigma(q(a)).

    Args:
        forest: the trees.
        b: index of the tree.
        wanted: visits that sequential halving asks for.
        rule: settings of the search.

    Returns:
        The index of the action in `forest.considered[b]`.
    """
    if wanted == 0:
        for i in range(forest.n_considered[b]):
            if forest.child[b, i] == NONE:
                return i
    low, scale, _, _ = sigma(forest, b, 0, rule)
    best, most = 0, -np.inf
    for i in range(forest.n_considered[b]):
        child = forest.child[b, i]
        if child == NONE or forest.nodes[b, child].visits != wanted:
            continue
        score = forest.score[b, i] + scale * (forest.nodes[b, child].q - low)
        if score > most:
            best, most = i, score
    return best


@njit(cache=True)
def interior_action(forest: Forest, b: int, n: int, rule: Rule) -> tuple[int, int]:
    """Choose the action whose share of visits lags furthest behind the improved policy.

    The action maximizes improved(a) - visits(a) / (1 + visits of all) (section 5, equation 14).

    Args:
        forest: the trees.
        b: index of the tree.
        n: index of the node, not a root.
        rule: settings of the search.

    Returns:
        The action, and its node, NONE if it was not tried.
    """
    node = forest.nodes[b, n]
    best = best_untried(forest, b, n)
    if node.first == NONE:
        return best, NONE
    _, scale, mixed, visits = sigma(forest, b, n, rule)
    greatest = mixed if best != NONE else -np.inf
    child = node.first
    while child != NONE:
        edge = forest.nodes[b, child]
        greatest = max(greatest, edge.q)
        child = edge.next
    weight = np.exp(scale * (mixed - greatest)) if best != NONE else 0.0
    total = max(node.untried, 0.0) * weight
    child = node.first
    while child != NONE:
        edge = forest.nodes[b, child]
        edge.weight = edge.prior
        if edge.q != greatest:
            edge.weight *= np.exp(scale * (edge.q - greatest))
        total += edge.weight
        child = edge.next
    total = max(total, LEAST_PRIOR)
    action, chosen, most = best, NONE, -np.inf
    if best != NONE:
        most = forest.priors[n, b, best] * weight / total
    child = node.first
    while child != NONE:
        edge = forest.nodes[b, child]
        lag = edge.weight / total - edge.visits / (1.0 + visits)
        if lag > most or (lag == most and edge.action < action):
            action, chosen, most = edge.action, child, lag
        child = edge.next
    return action, chosen
