"""What the solvers share: random sequences, mutants, and letters as arrays."""

from __future__ import annotations

import numpy as np

from ...datasets.sequence_design.instance import DesignTask


def random_designs(task: DesignTask, count: int, rng: np.random.Generator) -> np.ndarray:
    """Feasible sequences int8 [count, L]: each letter drawn alike from those that may follow."""
    steps = np.cumsum(~task.banned, axis=1)
    tokens = np.empty((count, task.length), np.int8)
    tokens[:, 0] = rng.integers(task.letters, size=count)
    for place in range(1, task.length):
        allowed = steps[tokens[:, place - 1]]
        draw = (rng.random(count) * allowed[:, -1]).astype(np.int64)
        tokens[:, place] = (allowed <= draw[:, None]).sum(axis=1)
    return tokens


def mutants(parents: np.ndarray, letters: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Copies of sequences int8 [n, L] in which each letter is drawn anew with the given chance."""
    changed = rng.random(parents.shape) < rate
    shift = rng.integers(1, letters, parents.shape)
    return np.where(changed, (parents + shift) % letters, parents).astype(np.int8)


def decode(task: DesignTask, logits: np.ndarray) -> np.ndarray:
    """The feasible sequences int8 [n, L] that logits [n, L, V] prefer, letter by letter."""
    tokens = np.empty(logits.shape[:2], np.int8)
    tokens[:, 0] = logits[:, 0].argmax(axis=1)
    for place in range(1, task.length):
        barred = task.banned[tokens[:, place - 1]]
        tokens[:, place] = np.where(barred, -np.inf, logits[:, place]).argmax(axis=1)
    return tokens


def one_hot(task: DesignTask, tokens: np.ndarray) -> np.ndarray:
    """float32 [n, L, V]."""
    hot: np.ndarray = np.eye(task.letters, dtype=np.float32)[tokens]
    return hot


def some_rows(task: DesignTask, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many rows that stand for the offline set, int64: the best half, the rest drawn."""
    order = np.argsort(-task.scores, kind="stable")
    best, rest = order[: most // 2], order[most // 2 :]
    rows: np.ndarray = np.concatenate([best, rng.permutation(rest)[: most - len(best)]])
    return rows
