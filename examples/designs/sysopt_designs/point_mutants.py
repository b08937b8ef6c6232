"""A solver: the best measured sequences, each with one letter changed."""

from __future__ import annotations

import numpy as np
from sysopt_gym import Budget, Solution
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.envs.sequence_design.rules import legal


def solve(task: DesignTask, budget: Budget, seed: int) -> Solution:
    """Change a letter in each of the best measured sequences.

    Args:
        task: the measured sequences, and the rules that designs must keep.
        budget: an evaluation is a mutant.
        seed: of the places and letters.
    """
    clock, rng = budget.start(), np.random.default_rng(seed)
    best = task.sequences[np.argsort(-task.scores, kind="stable")]
    known = {row.tobytes() for row in task.sequences}
    designs: list[np.ndarray] = []
    while len(designs) < task.batch_size and not clock.expired:
        mutant = best[len(designs) % len(best)].copy()
        mutant[rng.integers(task.length)] = rng.integers(task.letters)
        clock.evaluations += 1
        if mutant.tobytes() not in known and legal(task, mutant[None])[0]:
            known.add(mutant.tobytes())
            designs.append(mutant)
    rows = np.array([*designs, *best[legal(task, best)]], np.int64)[: task.batch_size]
    return clock.solution(rows.ravel())
