"""What an agent sees, form by form."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from ...datasets.sequence_design.instance import DesignTask

PROGRESS = ("letters or edits spent, part of all", "designs handed in, part of all")
VALUES = ("the sequence now, 0 while incomplete", "its start", "the best design so far")


def observation_space(task: DesignTask, form: str) -> spaces.Dict:
    """The space; every task of an environment has the same letters and length."""
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
    return spaces.Dict(parts)


def squashed(*values: float | np.ndarray) -> np.ndarray:
    """Proxy values in -1..1, float32: x / (1 + |x|); [3] of numbers, [3, n] of arrays [n]."""
    raw = np.array(values)
    flat: np.ndarray = (raw / (1.0 + np.abs(raw))).astype(np.float32)
    return flat
