"""The trees of a search, a batch of them side by side, and the settings of a search.

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
LEAST_PRIOR = 1e-30  # of a legal action, so that no division is by 0

# One node of a tree; nodes are named by their index, actions by theirs, NONE stands for neither.
NODE = np.dtype(
    [
        ("parent", np.int32),  # node; NONE at the root
        ("action", np.int32),  # taken at the parent
        ("visits", np.int32),  # simulations through the node; at the root one more
        ("first", np.int32),  # the child added last
        ("next", np.int32),  # the child of the same parent added before this one
        ("best", np.int32),  # the likeliest untried action; UNKNOWN until it is needed
        ("ended", np.int32),  # 1 where the episode ends
        ("reward", np.float64),  # of the step that leads to the node
        ("prior", np.float64),  # probability of that step
        ("raw", np.float64),  # the value that `expand` gave
        ("value", np.float64),  # mean of `raw` and of all returns from the node
        ("q", np.float64),  # reward + discount * value
        ("weight", np.float64),  # scratch of interior_action
        ("untried", np.float64),  # probability of all untried actions
    ],
    align=True,
)


Scope = Literal["tree", "node"]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Settings of a search.

    Attributes:
        simulations: simulations per search, at least 1.
        considered: the most actions sampled at the root; sequential halving halves them from round
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
    """Preallocated trees of B roots, S simulations and A actions, with m actions considered at a
    root.

    Node 0 of a tree is its root, node s the one that simulation s added.

    Attributes:
        nodes: NODE [B, S + 1].
        priors: float32 [S + 1, B, A]; probabilities at each node: 0 for illegal actions, negative
            for tried ones.
        bounds: float64 [B, 2]; least and greatest value in each tree.
        considered: int32 [B, m]; actions considered at the root, the highest `score` first.
        n_considered: int32 [B]; how many they are: fewer than m where fewer are legal.
        score: float64 [B, m]; Gumbel noise + logit of each considered action.
        child: int32 [B, m]; node of each considered action, NONE if it was not tried.
        parent: int64 [B]; node to which the present simulation adds a child, NONE if it met an
            ended node.
        action: int64 [B]; action of that child.
        leaf: int64 [B]; the ended node that the present simulation met, or NONE.
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
    """The settings of a search that compiled code reads.

    Attributes:
        discount, c_visit, c_scale: see SearchSettings.
        by_node: whether `scope` is "node".
    """

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
    """Find the likeliest untried action of a node.

    Args:
        forest: the trees; the result is kept in the node.
        b: index of the tree.
        n: index of the node.

    Returns:
        The action, or NONE if all legal ones were tried.
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
