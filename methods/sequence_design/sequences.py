"""Random and mutated sequences, and letters as arrays, for the solvers of sequence design."""

from __future__ import annotations

import numpy as np

from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.rules import likeliest, repaired


def random_designs(task: DesignTask, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw feasible sequences: each letter uniformly from those that may follow the one before.

    Where the task has rules, sequences of allowed letters are drawn uniformly and repaired; near
    references, each has as many changed letters as drawn uniformly from those allowed.

    Args:
        task: gives length, letters and rules.
        count: number of sequences.
        rng: draws the letters.

    Returns:
        int8 [count, L].
    """
    if task.ruled:
        return _random_ruled(task, count, rng)
    steps = np.cumsum(~task.banned, axis=1)
    tokens = np.empty((count, task.length), np.int8)
    tokens[:, 0] = rng.integers(task.letters, size=count)
    for place in range(1, task.length):
        allowed = steps[tokens[:, place - 1]]
        draw = (rng.random(count) * allowed[:, -1]).astype(np.int64)
        tokens[:, place] = (allowed <= draw[:, None]).sum(axis=1)
    return tokens


def _random_ruled(task: DesignTask, count: int, rng: np.random.Generator) -> np.ndarray:
    """See random_designs."""
    drawn = _allowed_letters(task, (count, task.length), rng)
    if task.most_changes:
        near = task.references[rng.integers(len(task.references), size=count)]
        free = np.flatnonzero((~task.barred).sum(axis=1) > 1)
        order = rng.random((count, len(free))).argsort(axis=1).argsort(axis=1)
        changed = np.zeros(drawn.shape, np.bool_)
        changed[:, free] = order < rng.integers(1, task.most_changes + 1, (count, 1))
        drawn = np.where(changed, drawn, near).astype(np.int8)
    return repaired(task, drawn, rng)


def _allowed_letters(
    task: DesignTask, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Draw letters uniformly from those that are not barred at their positions, int8 [n, L]."""
    steps = np.cumsum(~task.barred, axis=1)
    draw = (rng.random(shape) * steps[:, -1]).astype(np.int64)
    letters: np.ndarray = (steps[None] <= draw[:, :, None]).sum(axis=2).astype(np.int8)
    return letters


def offspring(
    task: DesignTask, parents: np.ndarray, changes: float, rng: np.random.Generator
) -> np.ndarray:
    """Copy sequences and replace some letters by other ones.

    Where the task has rules, letters are drawn from those that are not barred, and the copies are
    repaired; else they may be infeasible.

    Args:
        task: the task.
        parents: int8 [n, L].
        changes: letters replaced in a copy, on average, among those that may vary.
        rng: draws places and letters.

    Returns:
        int8 [n, L].
    """
    if not task.ruled:
        return mutants(parents, task.letters, changes / task.length, rng)
    free = (~task.barred).sum(axis=1) > 1
    changed = (rng.random(parents.shape) < changes / max(1, free.sum())) & free
    drawn = _allowed_letters(task, (len(parents), task.length), rng)
    return repaired(task, np.where(changed, drawn, parents).astype(np.int8), rng)


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

    Where the task has rules, the letters near one reference that have the largest sum are chosen.

    Args:
        task: gives the rules.
        logits: float [n, L, V].

    Returns:
        Feasible sequences, int8 [n, L].
    """
    if task.ruled:
        return likeliest(task, logits)
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
