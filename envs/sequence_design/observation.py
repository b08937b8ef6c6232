"""What an agent sees, form by form."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from ...datasets.sequence_design.instance import DesignTask

MOST_SCORE = 1e300  # in units of the offline set, whose scores may differ by very little
PROGRESS = ("letters or edits spent, part of all", "designs handed in, part of all")
VALUES = ("the sequence now, 0 while incomplete", "its start", "the best design so far")


def observation_space(task: DesignTask, form: str, designs: int | None = None) -> spaces.Dict:
    """Return the space; every task of an environment has the same letters, length and rounds.

    Args:
        task: any of them.
        form: of the actions.
        designs: of a batch; None for the task's batch size.
    """
    parts: dict[str, spaces.Space[np.ndarray]] = {
        "tokens": spaces.Box(0, task.letters, (task.length,), np.int8),
        "progress": spaces.Box(0.0, 1.0, (len(PROGRESS),), np.float32),
        "proxy_values": spaces.Box(-1.0, 1.0, (len(VALUES),), np.float32),
    }
    if form == "mutate":
        parts["start"] = spaces.Box(0, task.letters, (task.length,), np.int8)
    if form != "batch":
        actions = task.letters if form == "construct" else task.length * task.letters + 1
        parts["action_mask"] = spaces.Box(0, 1, (actions,), np.int8)
    if task.rounds > 1:
        most = task.rounds * (designs or task.batch_size)
        parts["round"] = spaces.Box(0.0, 1.0, (1,), np.float32)
        parts["measured"] = spaces.Box(0, task.letters, (most, task.length), np.int8)
        parts["measured_scores"] = spaces.Box(-MOST_SCORE, MOST_SCORE, (most,), np.float64)
    return spaces.Dict(parts)


def squashed(*values: float | np.ndarray) -> np.ndarray:
    """Proxy values in -1..1, float32: x / (1 + |x|); [3] of numbers, [3, n] of arrays [n]."""
    raw = np.array(values)
    flat: np.ndarray = (raw / (1.0 + np.abs(raw))).astype(np.float32)
    return flat
