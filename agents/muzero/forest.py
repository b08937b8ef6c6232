"""The trees of a search, a batch of them side by side, and what a search is set by.

Nodes are stored by visited edges: a node's children are a linked list of the actions that were
tried, and of the untried ones only the likeliest matters, since they share one completed value. So
a step of a descent costs what was visited there, not the number of actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numba import njit

from ...core.errors import SettingError

NONE, UNKNOWN = -1, -2
LEAST_PRIOR = 1e-30

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


Scope = Literal["tree", "node"]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """What a search is set by.

    Attributes:
        simulations: simulations per search, at least 1.
        considered: actions sampled at the root at most; sequential halving halves them from round
            to round.
        discount: discount of the environment, in [0, 1].
        c_visit: visits added in the transform of values, sigma(q) = (c_visit + most visits) *
            c_scale * q (section 3.4), where q is normalized to [0, 1].
        c_scale: scale of that transform.
        scope: what values are normalized over: the whole tree of a root (MuZero's single-player
            rule), or each node's own actions.

    Raises:
        SettingError: a value makes no sense.
    """

    simulations: int = 50
    considered: int = 16
    discount: float = 0.997
    c_visit: float = 50.0
    c_scale: float = 0.1
    scope: Scope = "tree"

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


class Forest(NamedTuple):
    """Preallocated trees, one per root; node 0 is the root. B roots, S simulations, A actions, m
    actions considered at most.

    Attributes:
        nodes: NODE [B, S + 1].
        priors: float32 [S + 1, B, A]; those of tried actions are negative.
        bounds: float64 [B, 2], least and greatest value in a tree.
        considered: int32 [B, m], actions considered at the root, the best score first.
        n_considered: int32 [B], how many they are.
        score: float64 [B, m], Gumbel noise + logit of each.
        child: int32 [B, m], the node of each, or NONE.
        parent: int64 [B], node to which the simulation under way adds a child, or NONE if it came
            to an ended node.
        action: int64 [B], action of that child.
        leaf: int64 [B], the ended node that the simulation came to, or NONE.
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


class Rule(NamedTuple):
    """SearchSettings for compiled code."""

    discount: float
    c_visit: float
    c_scale: float
    by_node: bool


def make_forest(batch: int, n_actions: int, settings: SearchSettings) -> Forest:
    """Allocate trees; a forest serves one search after another.

    Args:
        batch: roots per search.
        n_actions: actions of the environment.
        settings: settings of the searches.
    """
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


@njit(cache=True)
def best_untried(forest: Forest, b: int, n: int) -> int:
    """Return the likeliest untried action of a node, or NONE if all were tried.

    Args:
        forest: the trees; the result is kept in the node.
        b: the tree.
        n: the node.
    """
    node = forest.nodes[b, n]
    if node.best == UNKNOWN:
        node.best = NONE
        row, most = forest.priors[n, b], np.float32(0.0)
        for a in range(len(row)):
            if row[a] > most:
                node.best, most = a, row[a]
    best: int = node.best
    return best
