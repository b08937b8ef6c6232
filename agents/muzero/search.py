"""Gumbel MuZero search over a batch of roots at once (Danihelka et al. 2022).

The search knows nothing about networks or environments: a function `expand` gives reward, value and
prior of new nodes, for all roots of the batch in one call. Between two such calls, one compiled
call adds the nodes, backs their values up and selects the next ones.

Shapes: B roots, S simulations, A actions, m actions considered at a root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from ...core.errors import IllegalActionError
from ...envs.borrowed import borrow
from .action_selection import interior_action, root_slot
from .forest import LEAST_PRIOR, NONE, UNKNOWN, Forest, Rule, SearchSettings, make_forest
from .qtransforms import sigma
from .sequential_halving import visit_plan


class Leaves(NamedTuple):
    """New nodes, one per root, as `expand` returns them.

    Attributes:
        reward: float [B]; reward of the step that leads to the node.
        value: float [B]; expected return from the node.
        prior: float32 [B, A]; probabilities; 0 for an illegal action.
        ended: bool [B]; whether the episode ends at the node (known models only); its value and
            prior are then ignored.
    """

    reward: np.ndarray
    value: np.ndarray
    prior: np.ndarray
    ended: np.ndarray


# (index of the new nodes, 1 to S; their parents' indices, int64 [B], NONE for a root that needs no
# new node; the actions taken at these, int64 [B]) -> Leaves.
Expand = Callable[[int, np.ndarray, np.ndarray], Leaves]


class Found(NamedTuple):
    """Result of a search, one row per root.

    Attributes:
        action: int64 [B]; the action to take.
        policy: float32 [B, A]; the improved policy, target of the network's policy (section 4).
        value: float64 [B]; mean of the root's own value and the returns of its simulations.
        visits: int32 [B, A]; simulations per action of the root.
    """

    action: np.ndarray
    policy: np.ndarray
    value: np.ndarray
    visits: np.ndarray


def search(
    logits: np.ndarray,
    value: np.ndarray,
    legal: np.ndarray,
    expand: Expand,
    settings: SearchSettings,
    gumbel: np.ndarray,
    forest: Forest | None = None,
) -> Found:
    """Search from a batch of roots.

    Args:
        logits: float [B, A]; logits of the roots' prior.
        value: float [B]; values of the roots.
        legal: bool [B, A]; legal actions of the roots.
        expand: returns new nodes, see `Expand`.
        settings: settings of the search.
        gumbel: float [B, A]; standard Gumbel noise; zeros for play without exploration.
        forest: result of `make_forest` for B, A and `settings`; it holds the trees afterwards. None
            to allocate one.

    Raises:
        IllegalActionError: a root has no legal action.
    """
    if not legal.any(axis=1).all():
        row = int(np.flatnonzero(~legal.any(axis=1))[0])
        raise IllegalActionError(f"search: root {row} has no legal action; end its episode first")
    forest = forest or make_forest(len(logits), logits.shape[1], settings)
    rule = Rule(settings.discount, settings.c_visit, settings.c_scale, settings.scope == "node")
    plan = visit_plan(forest.considered.shape[1], settings.simulations)
    masked = np.where(legal, logits, -np.inf).astype(np.float64)
    masked -= masked.max(axis=1, keepdims=True)
    _plant(forest, masked, np.asarray(value, np.float64), gumbel)
    _select(forest, plan[0], rule)
    for made in range(1, settings.simulations + 1):
        leaves = expand(made, forest.parent, forest.action)
        forest.priors[made] = leaves.prior
        gains = np.asarray(leaves.reward, np.float64), np.asarray(leaves.value, np.float64)
        # The last selection goes unused; to skip it would take a compiled call more each time.
        wanted = plan[min(made, settings.simulations - 1)]
        _add_and_select(forest, made, *gains, leaves.ended, wanted, rule)
    batch, n_actions = logits.shape
    found = Found(
        np.zeros(batch, np.int64),
        np.zeros((batch, n_actions), np.float32),
        forest.nodes["value"][:, 0].copy(),
        np.zeros((batch, n_actions), np.int32),
    )
    _conclude(forest, masked, found.action, found.policy, found.visits, rule)
    return found


@njit(cache=True)
def _plant(forest: Forest, logits: np.ndarray, value: np.ndarray, gumbel: np.ndarray) -> None:
    """Set the roots and choose the actions considered there: the m with the greatest noise + logit.

    Args:
        forest: the trees; overwritten.
        logits: float64 [B, A]; -inf for illegal actions, 0 for the likeliest.
        value: float64 [B]; values of the roots.
        gumbel: float64 [B, A]; Gumbel noise.
    """
    forest = borrow(forest)
    batch, n_actions = logits.shape
    most = forest.considered.shape[1]
    for b in range(batch):
        root = forest.nodes[b, 0]
        root.parent, root.first, root.next, root.best = NONE, NONE, NONE, UNKNOWN
        root.ended, root.visits = 0, 1
        root.raw = root.value = value[b]
        forest.bounds[b, 0] = forest.bounds[b, 1] = value[b]
        total = 0.0
        for a in range(n_actions):
            total += np.exp(logits[b, a])
        kept = 0
        for a in range(n_actions):
            forest.priors[0, b, a] = 0.0
            if logits[b, a] == -np.inf:
                continue
            forest.priors[0, b, a] = max(np.exp(logits[b, a]) / total, LEAST_PRIOR)
            score = logits[b, a] + gumbel[b, a]
            # Insert into the best so far; of equal scores the smaller action comes first.
            at = kept
            while at > 0 and forest.score[b, at - 1] < score:
                at -= 1
            if at == most:
                continue
            kept = min(kept + 1, most)
            for i in range(kept - 1, at, -1):
                forest.score[b, i] = forest.score[b, i - 1]
                forest.considered[b, i] = forest.considered[b, i - 1]
            forest.score[b, at], forest.considered[b, at] = score, a
        forest.n_considered[b] = kept
        forest.child[b, :] = NONE
        root.untried = 1.0


@njit(cache=True)
def _select(forest: Forest, wanted: np.ndarray, rule: Rule) -> None:
    """Descend from every root to the place of a new node; set `parent`, `action` and `leaf`.

    Args:
        forest: the trees.
        wanted: int32 [m + 1]; row of `visit_plan` for this simulation.
        rule: settings of the search.
    """
    forest = borrow(forest)
    for b in range(len(forest.parent)):
        n = 0
        slot = root_slot(forest, b, wanted[forest.n_considered[b]], rule)
        action, child = forest.considered[b, slot], forest.child[b, slot]
        while child != NONE and forest.nodes[b, child].ended == 0:
            n = child
            action, child = interior_action(forest, b, n, rule)
        forest.action[b] = action
        forest.leaf[b] = child
        forest.parent[b] = n if child == NONE else NONE


@njit(cache=True)
def _add(
    forest: Forest,
    made: int,
    reward: np.ndarray,
    value: np.ndarray,
    ended: np.ndarray,
    rule: Rule,
) -> None:
    """Add the new nodes and back up their values.

    Args:
        forest: the trees.
        made: index of the new nodes.
        reward: float64 [B]; see Leaves, as the next two.
        value: float64 [B].
        ended: bool [B].
        rule: settings of the search.
    """
    for b in range(len(forest.parent)):
        n = forest.leaf[b]
        if n == NONE:
            n = made
            _link(forest, b, n, reward[b], 0.0 if ended[b] else value[b], ended[b])
        else:
            forest.nodes[b, n].visits += 1
        low, high = forest.bounds[b]
        gain = forest.nodes[b, n].raw
        while n != 0:
            node = forest.nodes[b, n]
            node.q = node.reward + rule.discount * node.value
            low, high = min(low, node.q), max(high, node.q)
            gain = node.reward + rule.discount * gain
            n = node.parent
            above = forest.nodes[b, n]
            above.value += (gain - above.value) / (above.visits + 1)
            above.visits += 1
        forest.bounds[b, 0], forest.bounds[b, 1] = low, high


@njit(cache=True)
def _add_and_select(
    forest: Forest,
    made: int,
    reward: np.ndarray,
    value: np.ndarray,
    ended: np.ndarray,
    wanted: np.ndarray,
    rule: Rule,
) -> None:
    """Add the new nodes, then select the next: the compiled call between two of `expand`."""
    forest = borrow(forest)
    _add(forest, made, reward, value, ended, rule)
    _select(forest, wanted, rule)


@njit(cache=True)
def _link(forest: Forest, b: int, n: int, reward: float, value: float, ended: bool) -> None:
    """Make node n of tree b the child of the node and action that were selected.

    Args:
        forest: the trees.
        b: index of the tree.
        n: index of the new node.
        reward: reward of the step that leads to it.
        value: expected return from it.
        ended: whether the episode ends there.
    """
    parent, action = forest.parent[b], forest.action[b]
    node, above = forest.nodes[b, n], forest.nodes[b, parent]
    node.parent, node.action, node.visits = parent, action, 1
    node.first, node.next, node.best = NONE, above.first, UNKNOWN
    node.ended = 1 if ended else 0
    node.reward, node.raw, node.value, node.untried = reward, value, value, 1.0
    node.prior = max(forest.priors[parent, b, action], LEAST_PRIOR)
    above.first, above.best = n, UNKNOWN
    above.untried -= node.prior
    forest.priors[parent, b, action] = -node.prior
    if parent == 0:
        for i in range(forest.n_considered[b]):
            if forest.considered[b, i] == action:
                forest.child[b, i] = n
    if not ended:
        forest.bounds[b, 0] = min(forest.bounds[b, 0], value)
        forest.bounds[b, 1] = max(forest.bounds[b, 1], value)


@njit(cache=True)
def _conclude(
    forest: Forest,
    logits: np.ndarray,
    action: np.ndarray,
    policy: np.ndarray,
    visits: np.ndarray,
    rule: Rule,
) -> None:
    """Write the result of a search, see Found.

    The action is the one with the best score among the most visited (Algorithm 2); the improved
    policy is softmax(logits + sigma(completed q)) (section 4).

    Args:
        forest: the trees.
        logits: float64 [B, A]; -inf for illegal actions, 0 for the likeliest.
        action: int64 [B]; overwritten.
        policy: float32 [B, A]; overwritten.
        visits: int32 [B, A]; zeros; counts are written.
        rule: settings of the search.
    """
    forest = borrow(forest)
    batch, n_actions = logits.shape
    improved = np.empty(n_actions)
    for b in range(batch):
        low, scale, mixed, _ = sigma(forest, b, 0, rule)
        for a in range(n_actions):
            improved[a] = logits[b, a] + scale * (mixed - low)
        child, most = forest.nodes[b, 0].first, 0
        while child != NONE:
            edge = forest.nodes[b, child]
            improved[edge.action] = logits[b, edge.action] + scale * (edge.q - low)
            visits[b, edge.action] = edge.visits
            most = max(most, edge.visits)
            child = edge.next
        action[b] = forest.considered[b, root_slot(forest, b, most, rule)]
        greatest, total = improved.max(), 0.0
        for a in range(n_actions):
            improved[a] = np.exp(improved[a] - greatest)
            total += improved[a]
        for a in range(n_actions):
            policy[b, a] = improved[a] / total
