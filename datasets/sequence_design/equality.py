"""Find equal sequences, and forbidden pairs of letters, among millions of rows in little memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

_SEED = 0x9E3779B97F4A7C15  # odd constants of 64 bits, as in splitmix64
_FACTOR = 0xBF58476D1CE4E5B9


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group equal sequences, in the order of their letters; for some thousand rows.

    Args:
        rows: int8 [n, L].

    Returns:
        The first row of each of m different sequences, int64 [m], and the group of each row, int64
        [n].
    """
    # Rows are compared as byte strings, many times faster than NumPy's comparison by number.
    codes = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1]))).ravel()
    _, first, group = np.unique(codes, return_index=True, return_inverse=True)
    return first, group


def first_of_each(rows: np.ndarray) -> np.ndarray:
    """Return of each row the first one that is equal to it, which may be itself, int64 [n].

    Args:
        rows: int8 [n, L].
    """
    rows = np.ascontiguousarray(rows)
    hashes = _hashes(rows)
    first: np.ndarray = _first_of_each(rows, hashes, np.argsort(hashes, kind="stable"))
    return first


@dataclass(frozen=True, slots=True, eq=False)
class RowIndex:
    """Where sequences stand among the rows of a table; 16 bytes a row beside the table.

    Attributes:
        rows: int8 [n, L]; the table.
        hashes: uint64 [n]; hashes of its rows, rising.
        order: int64 [n]; the row of each.
    """

    rows: np.ndarray
    hashes: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> RowIndex:
        """Index the rows of a table, int8 [n, L]."""
        rows = np.ascontiguousarray(rows)
        hashes = _hashes(rows)
        order = np.argsort(hashes, kind="stable")
        return cls(rows, hashes[order], order)

    def find(self, sequences: np.ndarray) -> np.ndarray:
        """Return the first row that is equal to each of some sequences, -1 where none is.

        Args:
            sequences: int8 [m, L].

        Returns:
            int64 [m].
        """
        found: np.ndarray = _find(
            np.ascontiguousarray(sequences, np.int8), self.rows, self.hashes, self.order
        )
        return found


def first_banned(rows: np.ndarray, banned: np.ndarray) -> tuple[int, int]:
    """Return row and position of the first pair of letters that is banned; (-1, -1) if none is.

    Args:
        rows: int8 [n, L].
        banned: bool [V, V]; letter b may not follow letter a where banned[a, b].
    """
    row, place = _first_banned(rows, banned)
    return int(row), int(place)


@njit(cache=True)
def _hashes(rows: np.ndarray) -> np.ndarray:
    """Return a number of 64 bits for each row, uint64 [n], equal for equal rows."""
    found = np.empty(len(rows), np.uint64)
    factor, shift = np.uint64(_FACTOR), np.uint64(29)
    for row in range(len(rows)):
        value = np.uint64(_SEED)
        for place in range(rows.shape[1]):
            value = (value ^ np.uint64(rows[row, place])) * factor
            value ^= value >> shift
        found[row] = value
    return found


@njit(cache=True)
def _first_of_each(rows: np.ndarray, hashes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """See first_of_each; rows of one hash are compared, as different ones may share it.

    Args:
        rows: int8 [n, L].
        hashes: uint64 [n].
        order: int64 [n]; the rows by rising hash, those of one hash in their own order.
    """
    first = np.empty(len(rows), np.int64)
    start = 0
    for at in range(len(order)):
        row = order[at]
        if hashes[row] != hashes[order[start]]:
            start = at
        first[row] = row
        for before in range(start, at):
            other = order[before]
            if first[other] == other and (rows[other] == rows[row]).all():
                first[row] = other
                break
    return first


@njit(cache=True)
def _first_banned(rows: np.ndarray, banned: np.ndarray) -> tuple[int, int]:
    for row in range(len(rows)):
        for place in range(1, rows.shape[1]):
            if banned[rows[row, place - 1], rows[row, place]]:
                return row, place - 1
    return -1, -1


@njit(cache=True)
def _find(
    sequences: np.ndarray, rows: np.ndarray, hashes: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """See RowIndex.find, also for the arguments."""
    wanted = _hashes(sequences)
    found = np.full(len(sequences), -1, np.int64)
    for at in range(len(sequences)):
        place = np.searchsorted(hashes, wanted[at])
        while place < len(hashes) and hashes[place] == wanted[at]:
            if (rows[order[place]] == sequences[at]).all():
                found[at] = order[place]
                break
            place += 1
    return found
