"""The game's moves on many sequences at once, where banned pairs are the only rule.

A lane is one sequence under construction or under mutation. Tokens are int8; the pad V stands where
no letter is yet. rules.py has the moves of tasks with further rules.
"""

from __future__ import annotations

import numpy as np
from numba import njit


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


@njit(cache=True)
def feasible(tokens: np.ndarray, banned: np.ndarray) -> np.ndarray:
    """Which sequences int8 [n, L] hold no banned pair, bool [n]."""
    free = np.ones(len(tokens), np.bool_)
    for row in range(len(tokens)):
        for place in range(1, tokens.shape[1]):
            if banned[tokens[row, place - 1], tokens[row, place]]:
                free[row] = False
                break
    return free
