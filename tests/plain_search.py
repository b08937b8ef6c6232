"""Gumbel MuZero search as the paper writes it, one root at a time, every action at every node: the
oracle for the compiled one. And small known problems for both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sysopt_gym.agents.muzero.forest import SearchSettings
from sysopt_gym.agents.muzero.search import Leaves
from sysopt_gym.agents.muzero.sequential_halving import visit_plan


@dataclass(frozen=True)
class Tree:
    """A deterministic problem: after `depth` actions it ends; every path has its reward, its value
    estimate and its prior, drawn from its own seed.
    """

    n_actions: int
    depth: int
    seed: int
    informed: bool = True  # whether values and priors are noise, or zero and uniform

    def reward(self, path: tuple[int, ...]) -> float:
        return float(np.random.default_rng([self.seed, 1, *path]).random())

    def value(self, path: tuple[int, ...]) -> float:
        if self.ended(path) or not self.informed:
            return 0.0
        return float(np.random.default_rng([self.seed, 2, *path]).random())

    def logits(self, path: tuple[int, ...]) -> np.ndarray:
        if not self.informed:
            return np.zeros(self.n_actions)
        return np.random.default_rng([self.seed, 3, *path]).normal(size=self.n_actions)

    def ended(self, path: tuple[int, ...]) -> bool:
        return len(path) >= self.depth

    def best(self, path: tuple[int, ...], discount: float) -> float:
        """The greatest return there is, by brute force."""
        return 0.0 if self.ended(path) else max(self.returns(path, discount))

    def returns(self, path: tuple[int, ...], discount: float) -> list[float]:
        """The greatest return after each action."""
        nexts = [(*path, a) for a in range(self.n_actions)]
        return [self.reward(p) + discount * self.best(p, discount) for p in nexts]


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


class Forester:
    """`expand` for a batch of Trees; remembers the path to every node."""

    def __init__(self, trees: list[Tree], simulations: int) -> None:
        self.trees = trees
        self.paths = [[()] + [None] * simulations for _ in trees]

    def roots(self) -> tuple[np.ndarray, np.ndarray]:
        logits = np.stack([tree.logits(()) for tree in self.trees])
        return logits, np.array([tree.value(()) for tree in self.trees])

    def expand(self, made: int, parents: np.ndarray, actions: np.ndarray) -> Leaves:
        batch, n_actions = len(self.trees), self.trees[0].n_actions
        leaves = Leaves(
            np.zeros(batch), np.zeros(batch), np.zeros((batch, n_actions), np.float32),
            np.zeros(batch, np.bool_),
        )  # fmt: skip
        for b, (tree, parent, action) in enumerate(zip(self.trees, parents, actions, strict=True)):
            if parent < 0:
                continue
            path = (*self.paths[b][parent], int(action))
            self.paths[b][made] = path
            leaves.reward[b], leaves.value[b] = tree.reward(path), tree.value(path)
            leaves.prior[b], leaves.ended[b] = softmax(tree.logits(path)), tree.ended(path)
        return leaves


@dataclass
class Node:
    """One node with arrays over all its actions."""

    logits: np.ndarray
    raw: float
    ended: bool
    value: float = 0.0
    count: int = 1
    reward: float = 0.0
    children: dict[int, Node] = field(default_factory=dict)

    def visits(self) -> np.ndarray:
        return np.array(
            [self.children[a].count if a in self.children else 0 for a in range(len(self.logits))]
        )


class PlainSearch:
    """One search; `settings` as for the compiled one."""

    def __init__(
        self, tree: Tree, settings: SearchSettings, gumbel: np.ndarray, legal: np.ndarray
    ) -> None:
        self.tree, self.settings, self.legal = tree, settings, legal
        logits = np.where(legal, tree.logits(()), -np.inf)
        self.root = Node(logits - logits.max(), tree.value(()), False, tree.value(()))
        self.low = self.high = self.root.raw
        self.score = self.root.logits + gumbel
        count = min(settings.considered, int(legal.sum()))
        self.considered = np.argsort(-self.score, kind="stable")[:count]
        for wanted in visit_plan(count, settings.simulations)[:, count]:
            self.simulate(int(wanted))
        wanted = int(self.root.visits().max())
        self.action = self.root_action(wanted)
        self.policy = softmax(self.root.logits + self.sigma(self.root))

    def returns(self, node: Node) -> dict[int, float]:
        discount = self.settings.discount
        return {a: child.reward + discount * child.value for a, child in node.children.items()}

    def sigma(self, node: Node) -> np.ndarray:
        """Transformed completed values of all actions."""
        prior, visits, q = softmax(node.logits), node.visits(), self.returns(node)
        mixed = node.raw
        if q:
            mean = sum(prior[a] * q[a] for a in q) / sum(prior[a] for a in q)
            mixed = (node.raw + visits.sum() * mean) / (1 + visits.sum())
        completed = np.array([q.get(a, mixed) for a in range(len(prior))])
        low, high = self.low, self.high
        if self.settings.scope == "node":
            among = completed[prior > 0]
            low, high = among.min(), among.max()
        scale = (self.settings.c_visit + visits.max()) * self.settings.c_scale
        return scale * (completed - low) / max(high - low, 1e-8)

    def root_action(self, wanted: int) -> int:
        visits = self.root.visits()
        score = np.where(self.legal, self.score, 0) + self.sigma(self.root)
        return max((a for a in self.considered if visits[a] == wanted), key=lambda a: score[a])

    def interior_action(self, node: Node) -> int:
        visits = node.visits()
        improved = softmax(node.logits + self.sigma(node))
        return int(np.argmax(improved - visits / (1 + visits.sum())))

    def simulate(self, wanted: int) -> None:
        node, path = self.root, ()
        way = [node]
        while not node.ended:
            action = self.root_action(wanted) if node is self.root else self.interior_action(node)
            action = int(action)
            path = (*path, action)
            if action not in node.children:
                value = self.tree.value(path)
                ended = self.tree.ended(path)
                made = Node(self.tree.logits(path), value, ended, value, 0, self.tree.reward(path))
                node.children[action] = made
                if not ended:
                    self.low, self.high = min(self.low, value), max(self.high, value)
                way.append(made)
                break
            node = node.children[action]
            way.append(node)
        gain = way[-1].raw
        way[-1].count += 1
        for above, below in zip(way[-2::-1], way[:0:-1], strict=True):
            q = below.reward + self.settings.discount * below.value
            self.low, self.high = min(self.low, q), max(self.high, q)
            gain = below.reward + self.settings.discount * gain
            above.value = (above.value * above.count + gain) / (above.count + 1)
            above.count += 1
