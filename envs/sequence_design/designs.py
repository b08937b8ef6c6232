"""The designs handed in, and the measured sequences that pad a batch."""

from __future__ import annotations

import copy

import numpy as np

from ...core.errors import SettingError
from ...core.instance import remembered
from ...datasets.sequence_design.instance import DesignTask
from .rules import legal

FIRST_LOOK = 512  # rows of which the best are searched first; each further look is twice as long


class Designs:
    """The designs handed in so far: which are repeats, and what pads the batch."""

    def __init__(self, task: DesignTask, size: int) -> None:
        self.size = size
        self.unique: list[np.ndarray] = []
        self._seen: set[bytes] = set()
        self.count = 0
        self._padding = padding(task, size)

    def add(self, tokens: np.ndarray) -> bool:
        """Takes a design int8 [L]; whether it is the first of its kind."""
        self.count += 1
        key = tokens.tobytes()
        if key in self._seen:
            return False
        self._seen.add(key)
        self.unique.append(tokens.copy())
        return True

    def fork(self) -> Designs:
        """The same designs, to which others are added."""
        twin = copy.copy(self)
        twin.unique, twin._seen = list(self.unique), set(self._seen)
        return twin

    def batch(self) -> np.ndarray:
        """What would be judged now, int8 [size, L]: the unique designs, and the best sequences of
        the offline set that are not among them.
        """
        fill = (row for row in self._padding if row.tobytes() not in self._seen)
        rows = list(self.unique)
        while len(rows) < self.size:
            rows.append(next(fill))
        return np.stack(rows)


def padding(task: DesignTask, size: int) -> np.ndarray:
    """What pads a batch of so many designs, int8 [size, L]: measured sequences, the best first that
    keep the task's rules, then the best others.

    Raises:
        SettingError: the offline set holds fewer different sequences.
    """
    rows = best_offline(task, size)
    if len(rows) < size and task.ruled:
        rest = _best_rows(task, size - len(rows), keeping=False)
        rows = np.concatenate([rows, rest])
    if len(rows) < size:
        raise SettingError(
            f"{task.name}: the offline set's {len(rows)} different sequences cannot pad a batch of "
            f"{size}; set designs={len(rows)} or less"
        )
    return rows


def best_offline(task: DesignTask, count: int) -> np.ndarray:
    """The best different sequences of the offline set that keep the task's rules, at most so many,
    best first, int8 [n, L].
    """
    return _best_rows(task, count, keeping=True)


def ranked_rows(task: DesignTask) -> np.ndarray:
    """The rows of the offline set, the best first, int64 [N]; sorted once for each task."""
    return remembered(task, _ranked_rows)


def _ranked_rows(task: DesignTask) -> np.ndarray:
    return np.argsort(-task.scores, kind="stable")


def _best_rows(task: DesignTask, count: int, keeping: bool) -> np.ndarray:
    """The best different sequences that keep the task's rules, or the best of the others, at most
    so many, int8 [n, L].
    """
    kept: dict[bytes, int] = {}
    ranked = ranked_rows(task)
    at, size = 0, FIRST_LOOK
    while at < len(ranked) and len(kept) < count:
        rows = ranked[at : at + size]
        for row in rows[legal(task, task.sequences[rows]) == keeping]:
            kept.setdefault(task.sequences[row].tobytes(), int(row))
            if len(kept) == count:
                break
        at, size = at + size, 2 * size
    return task.sequences[list(kept.values())]
