"""Random small tasks with rules, and the plain reading of the rules."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task

ALPHABET = "ACGT"


def draw_ruled(seed: int, letters: int = 4, batch_size: int = 3, length: int = 0) -> DesignTask:
    """Draw a task of 4 to 40 measured rows with some of all kinds of rules; always with one."""
    rng = np.random.default_rng(seed)
    while True:
        length = length or int(rng.integers(3, 7))
        rows = np.unique(rng.integers(0, letters, (40, length)), axis=0).astype(np.int8)
        rows = rows[rng.permutation(len(rows))[: rng.integers(4, len(rows) + 1)]]
        task = make_task(
            f"ruled-{seed}", ALPHABET[:letters], rows, rng.normal(size=len(rows)),
            {"landscape": "measured"}, batch_size=batch_size,
        )  # fmt: skip
        changes: dict[str, object] = {}
        if rng.random() < 0.6:
            changes["barred"] = rng.random((length, letters)) < 0.25
        if rng.random() < 0.6:
            drawn = {
                "".join(rng.choice(list(task.alphabet), rng.integers(1, 4)))
                for _ in range(rng.integers(1, 4))
            }
            changes["forbidden"] = tuple(sorted(drawn))
        if rng.random() < 0.6:
            some = rows[: rng.integers(1, 6)]
            changes |= {"references": some, "most_changes": int(rng.integers(1, 3))}
        if rng.random() < 0.3:  # pairs that no measured row holds, nor two equal letters
            free = np.ones((letters, letters), np.bool_)
            free[rows[:, :-1], rows[:, 1:]] = False
            changes["banned"] = free & ~np.eye(letters, dtype=np.bool_)
        try:
            ruled = dataclasses.replace(task, **changes)  # type: ignore[arg-type]
        except InstanceError:
            continue
        if ruled.ruled:
            return ruled


def keeps(task: DesignTask, tokens: np.ndarray) -> bool:
    """Read the rules as the documentation says them, for one sequence."""
    text = task.text(tokens)
    return (
        not any(task.barred[place, token] for place, token in enumerate(tokens))
        and not any(motif in text for motif in task.forbidden)
        and not any(task.banned[a, b] for a, b in itertools.pairwise(tokens))
        and (
            not task.most_changes
            or min(int((row != tokens).sum()) for row in task.references) <= task.most_changes
        )
    )


def every_sequence(task: DesignTask) -> np.ndarray:
    """Return all sequences, int8 [V ** L, L]."""
    return np.array(list(itertools.product(range(task.letters), repeat=task.length)), np.int8)


def every_legal(task: DesignTask) -> np.ndarray:
    """Return all sequences that keep the rules, int8 [n, L]."""
    return np.array([row for row in every_sequence(task) if keeps(task, row)], np.int8)
