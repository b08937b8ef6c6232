"""The game's moves on many sequences at once, and the designs handed in.

A lane is one sequence under construction or under mutation. Tokens are int8; the pad V stands where
no letter is yet.
"""

from __future__ import annotations

import copy

import numpy as np
from numba import njit

from ...core.errors import SettingError
from ...datasets.sequence_design.instance import DesignTask


@njit(cache=True)
def append(tokens: np.ndarray, at: int, actions: np.ndarray, banned: np.ndarray) -> int:
    """Sets the letter at position `at` of every lane.

    Args:
        tokens: int8 [B, L], written to.
        at: the position.
        actions: int64 [B]; letters.
        banned: bool [V, V]; see DesignTask.

    Returns:
        -1, or the first lane whose letter is illegal; no lane has changed then.
    """
    letters = len(banned)
    for lane in range(len(tokens)):
        letter = actions[lane]
        if letter < 0 or letter >= letters:
            return lane
        if at > 0 and banned[tokens[lane, at - 1], letter]:
            return lane
    for lane in range(len(tokens)):
        tokens[lane, at] = actions[lane]
    return -1


@njit(cache=True)
def append_mask(tokens: np.ndarray, at: int, banned: np.ndarray, mask: np.ndarray) -> None:
    """Writes into mask, int8 [B, V], which letters may stand at position `at`."""
    for lane in range(len(tokens)):
        for letter in range(len(banned)):
            legal = at == 0 or not banned[tokens[lane, at - 1], letter]
            mask[lane, letter] = 1 if legal else 0


@njit(cache=True)
def edit_mask(tokens: np.ndarray, banned: np.ndarray, mask: np.ndarray) -> None:
    """Writes into mask, int8 [B, L * V + 1], which edits (position * V + letter) change a lane into
    a feasible one; the last, to stop, always may be.
    """
    count, length = tokens.shape
    letters = len(banned)
    for lane in range(count):
        for place in range(length):
            for letter in range(letters):
                legal = letter != tokens[lane, place]
                if place > 0 and banned[tokens[lane, place - 1], letter]:
                    legal = False
                if place + 1 < length and banned[letter, tokens[lane, place + 1]]:
                    legal = False
                mask[lane, place * letters + letter] = 1 if legal else 0
        mask[lane, length * letters] = 1


def feasible(tokens: np.ndarray, banned: np.ndarray) -> np.ndarray:
    """Which sequences int8 [n, L] hold no banned pair, bool [n]."""
    free: np.ndarray = ~banned[tokens[:, :-1], tokens[:, 1:]].any(axis=1)
    return free


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
    """What pads a batch of so many designs, best first, int8 [size, L].

    Raises:
        SettingError: the offline set holds fewer different sequences.
    """
    rows = best_offline(task, size)
    if len(rows) < size:
        raise SettingError(
            f"{task.name}: the offline set's {len(rows)} different sequences cannot pad a batch of "
            f"{size}; set designs={len(rows)} or less"
        )
    return rows


def best_offline(task: DesignTask, count: int) -> np.ndarray:
    """The best different sequences of the offline set, at most so many, best first, int8 [n, L]."""
    order = np.argsort(-task.scores, kind="stable")
    kept: dict[bytes, int] = {}
    for row in order:
        kept.setdefault(task.sequences[row].tobytes(), int(row))
        if len(kept) == count:
            break
    return task.sequences[list(kept.values())]
