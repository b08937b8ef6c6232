"""Random and mutated sequences, and letters as arrays, for the solvers of sequence design."""

from __future__ import annotations

import numpy as np

from ...datasets.sequence_design.instance import DesignTask


def random_designs(task: DesignTask, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw feasible sequences: each letter uniformly from those that may follow the one before.

    Args:
        task: gives length, letters and banned pairs.
        count: number of sequences.
        rng: draws the letters.

    Returns:
        int8 [count, L].
    """
    steps = np.cumsum(~task.banned, axis=1)
    tokens = np.empty((count, task.length), np.int8)
    tokens[:, 0] = rng.integers(task.letters, size=count)
    for place in range(1, task.length):
        allowed = steps[tokens[:, place - 1]]
        draw = (rng.random(count) * allowed[:, -1]).astype(np.int64)
        tokens[:, place] = (allowed <= draw[:, None]).sum(axis=1)
    return tokens


def mutants(parents: np.ndarray, letters: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Copy sequences and replace some letters by other ones; the copies may be infeasible.

    Args:
        parents: int8 [n, L].
        letters: size of the alphabet, V.
        rate: probability of each letter to be replaced, by one of the V - 1 others uniformly.
        rng: draws places and letters.

    Returns:
        int8 [n, L].
    """
    changed = rng.random(parents.shape) < rate
    shift = rng.integers(1, letters, parents.shape)
    return np.where(changed, (parents + shift) % letters, parents).astype(np.int8)


def decode(task: DesignTask, logits: np.ndarray) -> np.ndarray:
    """Choose the letter of the largest logit at each position in turn, among those that may follow.

    Args:
        task: gives the banned pairs.
        logits: float [n, L, V].

    Returns:
        Feasible sequences, int8 [n, L].
    """
    tokens = np.empty(logits.shape[:2], np.int8)
    tokens[:, 0] = logits[:, 0].argmax(axis=1)
    for place in range(1, task.length):
        barred = task.banned[tokens[:, place - 1]]
        tokens[:, place] = np.where(barred, -np.inf, logits[:, place]).argmax(axis=1)
    return tokens


def one_hot(task: DesignTask, tokens: np.ndarray) -> np.ndarray:
    """Turn tokens into one-hot letters.

    Args:
        task: gives the number of letters, V.
        tokens: int8 [..., L].

    Returns:
        float32 [..., L, V].
    """
    hot: np.ndarray = np.eye(task.letters, dtype=np.float32)[tokens]
    return hot


def best_and_random_rows(task: DesignTask, most: int, rng: np.random.Generator) -> np.ndarray:
    """Choose rows to stand for the offline set: half of them the best, the others at random.

    Args:
        task: the task, of N rows.
        most: number of rows; all of them if N is less.
        rng: draws the random half, without replacement.

    Returns:
        Distinct rows, int64 [min(N, most)].
    """
    order = np.argsort(-task.scores, kind="stable")
    best, rest = order[: most // 2], order[most // 2 :]
    rows: np.ndarray = np.concatenate([best, rng.permutation(rest)[: most - len(best)]])
    return rows
