"""Which cell a free seat plays next, and how often a cell is tried whose seat was lost."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import replace

from ..core.results import Row
from .cells import Cell
from .seat import Terms, blank_row

TRIES = 3

Contender = tuple[str, str]  # names of family and contender


def contender_of(cell: Cell) -> Contender:
    """Return the names of a cell's family and contender."""
    return cell.entry.family, cell.contender


class Schedule:
    """Hands the cells of a comparison to seats; several threads may ask.

    A seat goes on with the contender that it has started, so that few are started. One that has
    none left takes the contender with the most cells for each seat that plays it, unless those
    seats would be done before it has started.

    Args:
        cells: the cells to play.
        terms: those of the comparison.
    """

    def __init__(self, cells: Iterable[Cell], terms: Terms) -> None:
        self._terms = terms
        self._lock = threading.Lock()
        self._waiting: dict[Contender, deque[Cell]] = defaultdict(deque)
        for cell in cells:
            self._waiting[contender_of(cell)].append(cell)
        self._playing: Counter[Contender] = Counter()
        self._lost: dict[str, list[str]] = defaultdict(list)  # cell's key -> reasons
        # Seconds of the last start, and of the last run.
        self._seconds: dict[Contender, tuple[float, float]] = {}

    def take(self, started: Contender | None) -> Cell | None:
        """Return the cell that a free seat is to play now; None if there is none for it.

        Args:
            started: the contender that the seat has started, if any.
        """
        with self._lock:
            waiting = {one: cells for one, cells in self._waiting.items() if cells}
            if started not in waiting:
                worth = [one for one in waiting if self._is_worth(one)]
                started = max(worth, key=self._share, default=None)
            if started is None:
                return None
            self._playing[started] += 1
            return waiting[started].popleft()

    def played(self, cell: Cell, row: Row) -> Row:
        """Say that a cell has a row, and return the row.

        Args:
            cell: the cell.
            row: its row.
        """
        with self._lock:
            contender = contender_of(cell)
            self._playing[contender] -= 1
            self._seconds[contender] = row.setup_s, row.wall_s or row.budget_s
        return row

    def lost(self, cell: Cell, why: str) -> Row | None:
        """Say that a seat was lost with the cell that it played; the cell is played again.

        Args:
            cell: the cell.
            why: what happened to the seat.

        Returns:
            The cell's row after the last try, else None.
        """
        with self._lock:
            self._playing[contender_of(cell)] -= 1
            reasons = self._lost[cell.key]
            reasons.append(why)
            if len(reasons) < TRIES:
                self._waiting[contender_of(cell)].append(cell)
                return None
        error = f"lost {TRIES} times with the process that judges it: {'; '.join(reasons)}"
        return replace(blank_row(cell, self._terms), error=error, host="", processor="")

    def clear(self) -> None:
        """Leave nothing to play."""
        with self._lock:
            self._waiting.clear()

    def _share(self, contender: Contender) -> float:
        return len(self._waiting[contender]) / (1 + self._playing[contender])

    def _is_worth(self, contender: Contender) -> bool:
        """Whether a further seat would start the contender before the others are done."""
        others, (setup_s, run_s) = self._playing[contender], self._seconds.get(contender, (0, 0))
        return others == 0 or setup_s <= len(self._waiting[contender]) * run_s / others
