"""Gumbel MuZero search over a batch of roots at once (Danihelka et al. 2022).

The tree knows nothing of networks or environments: a function `expand` gives reward, value and
prior of new nodes, for all roots of the batch in one call, between two compiled calls that select,
expand and back up. Nodes are stored by visited edges: a node's children are a linked list of the
actions that were tried, and of the untried ones only the likeliest matters, since they share one
completed value. So a step of a descent costs what was visited there, not the number of actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numba import njit

from ...core.errors import IllegalActionError, SettingError
from ...envs.borrowed import borrow

NONE, UNKNOWN = -1, -2
LEAST_PRIOR = 1e-30
LEAST_RANGE = 1e-8

# One node; reward, prior and q (its return) are those of the edge that leads to it. `first` and
# `next` link the children of one parent, `best` is the likeliest untried action, `untried` the
# prior mass of all of them; `raw` is the network's value, `value` the mean of it and of all returns
# through the node; `weight` is scratch.
NODE = np.dtype(
    [
        ("parent", np.int32),
        ("action", np.int32),
        ("visits", np.int32),
        ("first", np.int32),
        ("next", np.int32),
        ("best", np.int32),
        ("ended", np.int32),
        ("reward", np.float64),
        ("prior", np.float64),
        ("raw", np.float64),
        ("value", np.float64),
        ("q", np.float64),
        ("weight", np.float64),
        ("untried", np.float64),
    ],
    align=True,
)


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a search goes.

    Attributes:
        simulations: a search, at least 1.
        considered: actions sampled at the root at most, halved from round to round.
        discount: of the environment, in [0, 1].
        c_visit, c_scale: the sigma transform, (c_visit + most visits) * c_scale * value (section
            3.4); values are normalized to [0, 1] before.
        scope: what values are normalized over: the whole tree of a root (MuZero's single-player
            rule), or each node's own actions.
    """

    simulations: int = 50
    considered: int = 16
    discount: float = 0.997
    c_visit: float = 50.0
    c_scale: float = 0.1
    scope: Literal["tree", "node"] = "tree"

    def __post_init__(self) -> None:
        if self.simulations < 1 or self.considered < 1:
            raise SettingError(
                f"search: {self.simulations} simulations, {self.considered} considered actions; "
                "both must be at least 1"
            )
        if not 0 <= self.discount <= 1:
            raise SettingError(f"search: discount {self.discount} is not in [0, 1]")
        if self.scope not in ("tree", "node"):
            raise SettingError(f"search: scope {self.scope!r}; known: tree, node")


class Leaves(NamedTuple):
    """What `expand` says of the new nodes, one a root.

    Attributes:
        reward: float [B], of the step that leads there.
        value: float [B], expected return from there.
        prior: float32 [B, A], probabilities; 0 for an illegal action.
        ended: bool [B], nothing follows (known models only); value and prior are then ignored.
    """

    reward: np.ndarray
    value: np.ndarray
    prior: np.ndarray
    ended: np.ndarray


# (index of the new nodes, 1..simulations; their parents' indices [B], NONE where a root needs no
# new node; the actions taken there [B]) -> Leaves.
Expand = Callable[[int, np.ndarray, np.ndarray], Leaves]


class Found(NamedTuple):
    """What a search found, one row a root.

    Attributes:
        action: int64 [B], the action to take.
        policy: float32 [B, A], the improved policy: the target the prior learns (section 4).
        value: float64 [B], mean return of the root's simulations.
        visits: int32 [B, A].
    """

    action: np.ndarray
    policy: np.ndarray
    value: np.ndarray
    visits: np.ndarray


class Forest(NamedTuple):
    """Preallocated trees: one a root; the root is node 0.

    Attributes:
        nodes: NODE [B, S + 1].
        priors: float32 [S + 1, B, A]; those of tried actions are negative.
        bounds: float64 [B, 2], least and greatest value in a tree.
        considered: int32 [B, m], sampled actions at the root, best first; n_considered: int32 [B].
        score: float64 [B, m], Gumbel noise + logit of each; child: int32 [B, m].
        parent, action, leaf: int64 [B], where the simulation under way adds a node (or, `leaf`, the
            ended node it came to).
    """

    nodes: np.ndarray
    priors: np.ndarray
    bounds: np.ndarray
    considered: np.ndarray
    n_considered: np.ndarray
    score: np.ndarray
    child: np.ndarray
    parent: np.ndarray
    action: np.ndarray
    leaf: np.ndarray


class _Rule(NamedTuple):
    """SearchSettings for compiled code."""

    discount: float
    c_visit: float
    c_scale: float
    by_node: bool


def make_forest(batch: int, n_actions: int, settings: SearchSettings) -> Forest:
    """Trees for searches of this size; a forest serves one search after another."""
    m = min(settings.considered, n_actions)
    return Forest(
        np.zeros((batch, settings.simulations + 1), NODE),
        np.zeros((settings.simulations + 1, batch, n_actions), np.float32),
        np.zeros((batch, 2)),
        np.zeros((batch, m), np.int32),
        np.zeros(batch, np.int32),
        np.zeros((batch, m)),
        np.zeros((batch, m), np.int32),
        *(np.zeros(batch, np.int64) for _ in range(3)),
    )


def search(
    logits: np.ndarray,
    value: np.ndarray,
    legal: np.ndarray,
    expand: Expand,
    settings: SearchSettings,
    gumbel: np.ndarray,
    forest: Forest | None = None,
) -> Found:
    """Searches from a batch of roots.

    Args:
        logits: float [B, A], the roots' prior.
        value: float [B], the roots' value.
        legal: bool [B, A].
        expand: gives the nodes below the roots.
        settings: how.
        gumbel: float [B, A], standard Gumbel noise; zeros for play without exploration.
        forest: of `make_forest` for this size; it holds the trees afterwards.

    Raises:
        IllegalActionError: a root has no legal action.
    """
    if not legal.any(axis=1).all():
        row = int(np.flatnonzero(~legal.any(axis=1))[0])
        raise IllegalActionError(f"search: root {row} has no legal action; end its episode first")
    forest = forest or make_forest(*logits.shape, settings)
    rule = _Rule(settings.discount, settings.c_visit, settings.c_scale, settings.scope == "node")
    plan = visit_plan(forest.considered.shape[1], settings.simulations)
    masked = np.where(legal, logits, -np.inf).astype(np.float64)
    masked -= masked.max(axis=1, keepdims=True)
    _plant(forest, masked, np.asarray(value, np.float64), gumbel)
    _select(forest, plan[0], rule)
    for made in range(1, settings.simulations + 1):
        leaves = expand(made, forest.parent, forest.action)
        forest.priors[made] = leaves.prior
        gains = np.asarray(leaves.reward, np.float64), np.asarray(leaves.value, np.float64)
        # The last one's selection is for nothing, and cheaper than a call of its own in the others.
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


@cache
def visit_plan(most: int, simulations: int) -> np.ndarray:
    """Sequential halving (Karnin et al. 2013) as a table, int32 [simulations, most + 1].

    Row s, column m: simulation s goes to a root action that was visited that often, where m actions
    are considered. Each of the log2(m) rounds shares the simulations evenly among the actions left.
    """
    plan = np.zeros((simulations, most + 1), np.int32)
    for m in range(1, most + 1):
        rounds = max(1, int(np.ceil(np.log2(m))))
        left, visits, row = m, 0, 0
        while row < simulations:
            for _ in range(max(1, simulations // (rounds * left))):
                plan[row : row + left, m] = visits
                row += left
                visits += 1
            left = max(min(2, m), left // 2)
    return plan


@njit(cache=True)
def _plant(forest: Forest, logits: np.ndarray, value: np.ndarray, gumbel: np.ndarray) -> None:
    """Sets the roots; illegal actions have logits of -inf, the likeliest 0."""
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
            # Insertion into the best so far, the smaller action first among equals.
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
def _select(forest: Forest, wanted: np.ndarray, rule: _Rule) -> None:
    """Descends from every root to where a node is to be added."""
    forest = borrow(forest)
    for b in range(len(forest.parent)):
        n = 0
        slot = _root_slot(forest, b, wanted[forest.n_considered[b]], rule)
        action, child = forest.considered[b, slot], forest.child[b, slot]
        while child != NONE and forest.nodes[b, child].ended == 0:
            n = child
            action, child = _interior(forest, b, n, rule)
        forest.action[b] = action
        forest.leaf[b] = child
        forest.parent[b] = n if child == NONE else NONE


@njit(cache=True)
def _root_slot(forest: Forest, b: int, wanted: int, rule: _Rule) -> int:
    """The best considered action among those visited so often (Algorithm 2)."""
    if wanted == 0:
        for i in range(forest.n_considered[b]):
            if forest.child[b, i] == NONE:
                return i
    low, scale, _, _ = _sigma(forest, b, 0, rule)
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
def _interior(forest: Forest, b: int, n: int, rule: _Rule) -> tuple[int, int]:
    """The action, and its node if it was tried, whose visits lag furthest behind the improved
    policy (section 5, equation 14).
    """
    node = forest.nodes[b, n]
    best = _best_untried(forest, b, n)
    if node.first == NONE:
        return best, NONE
    _, scale, mixed, visits = _sigma(forest, b, n, rule)
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


@njit(cache=True)
def _best_untried(forest: Forest, b: int, n: int) -> int:
    node = forest.nodes[b, n]
    if node.best == UNKNOWN:
        node.best = NONE
        row, most = forest.priors[n, b], np.float32(0.0)
        for a in range(len(row)):
            if row[a] > most:
                node.best, most = a, row[a]
    return node.best


@njit(cache=True)
def _sigma(forest: Forest, b: int, n: int, rule: _Rule) -> tuple[float, float, float, int]:
    """Of a node: sigma(q) is scale * (q - low); gives low, scale, the completing value of untried
    actions (appendix D) and the visits of all its edges.
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
    elif _best_untried(forest, b, n) != NONE:
        low, high = min(low, mixed), max(high, mixed)
    return low, (rule.c_visit + most) * rule.c_scale / max(high - low, LEAST_RANGE), mixed, visits


@njit(cache=True)
def _add(
    forest: Forest,
    made: int,
    reward: np.ndarray,
    value: np.ndarray,
    ended: np.ndarray,
    rule: _Rule,
) -> None:
    """Adds the new nodes and backs up their values."""
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
    rule: _Rule,
) -> None:
    """One compiled call between two of the network."""
    forest = borrow(forest)
    _add(forest, made, reward, value, ended, rule)
    _select(forest, wanted, rule)


@njit(cache=True)
def _link(forest: Forest, b: int, n: int, reward: float, value: float, ended: bool) -> None:
    """Makes node n the child that the simulation under way has come to."""
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
    rule: _Rule,
) -> None:
    """The action with the best score among the most visited, and the improved policy."""
    forest = borrow(forest)
    batch, n_actions = logits.shape
    improved = np.empty(n_actions)
    for b in range(batch):
        low, scale, mixed, _ = _sigma(forest, b, 0, rule)
        for a in range(n_actions):
            improved[a] = logits[b, a] + scale * (mixed - low)
        child, most = forest.nodes[b, 0].first, 0
        while child != NONE:
            edge = forest.nodes[b, child]
            improved[edge.action] = logits[b, edge.action] + scale * (edge.q - low)
            visits[b, edge.action] = edge.visits
            most = max(most, edge.visits)
            child = edge.next
        action[b] = forest.considered[b, _root_slot(forest, b, most, rule)]
        greatest, total = improved.max(), 0.0
        for a in range(n_actions):
            improved[a] = np.exp(improved[a] - greatest)
            total += improved[a]
        for a in range(n_actions):
            policy[b, a] = improved[a] / total
