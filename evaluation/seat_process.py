"""A seat in a process of its own: `python -m sysopt_gym.evaluation.seat_process SOCKET LIFELINE`.

Contenders that play side by side are judged side by side, too, each by its seat. SOCKET and
LIFELINE are as in worker.py; the process on the other side is this one's own, so that messages are
pickles both ways.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from typing import Any

from ..core import registry
from ..core.results import Row
from .cells import Cell
from .channel import Channel
from .isolation import closed_memory
from .joined_process import joined_socket, start_joined
from .parent_death import end_with_parent
from .process_tree import LAUNCH
from .seat import Seat, Terms

FOREVER = float("inf")
MOST_BYTES = 2**40


class SeatLost(Exception):
    """A seat has ended while a cell was played there; the message says how."""


class SeatProcess:
    """A seat in another process, which is started when it is needed, and again if it was lost.

    Args:
        terms: those of the comparison.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._sent = ""  # hash of the instance that the process has

    def play(self, cell: Cell) -> Row:
        """Play a cell there; see `Seat.play`.

        Raises:
            SeatLost: the process has ended.
        """
        try:
            if self._process is None:
                self._launch()
            is_new = cell.entry.instance_hash != self._sent
            self._sent = cell.entry.instance_hash
            entry = cell.entry if is_new else None
            self._send((entry, cell.contender, cell.seed, cell.world_seed))
            row: Row | Exception = pickle.loads(self._channel.receive(FOREVER, MOST_BYTES))
        except (EOFError, OSError):
            raise SeatLost(self._last_words()) from None
        if isinstance(row, Exception):
            raise row
        return row

    def kill(self) -> None:
        """Let a waiting `play`, and every further one, raise `SeatLost`; any thread may do so."""
        self._killed = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """End the process, and with it the contender's."""
        if self._process is not None:
            self._channel.close()
            self._process.kill()
            self._process.wait()
            self._lifeline.close()
        self._process = None

    def _launch(self) -> None:
        with LAUNCH:
            self._process, ours, self._lifeline = start_joined(
                lambda *ends: [sys.executable, "-m", __name__, *ends], stdin=subprocess.DEVNULL
            )
        self._channel = Channel(ours)
        if self._killed:
            raise EOFError
        self._sent = ""
        self._send((self._terms, registry.tables(), list(sys.path)))

    def _send(self, message: Any) -> None:
        self._channel.send(pickle.dumps(message), FOREVER)

    def _last_words(self) -> str:
        """Close what is left of the process, and return how it ended."""
        assert self._process is not None
        self._channel.close()
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.close()
        return f"it was killed by signal {-code}" if code < 0 else f"it ended with code {code}"


def main() -> None:
    """Play the cells that arrive on the socket that the arguments name."""
    end, lifeline = sys.argv[1:]
    channel = Channel(joined_socket(end))
    end_with_parent(lifeline)

    def received() -> Any:
        return pickle.loads(channel.receive(FOREVER, MOST_BYTES))

    terms, tables, sys.path[:] = received()
    registry.adopt(tables)
    seat, entry = Seat(terms), None
    with closed_memory(), contextlib.suppress(EOFError):
        while True:
            other, *more = received()
            entry = other or entry
            assert entry is not None  # of the first cell
            try:
                answer: Row | Exception = seat.play(Cell(entry, *more))
            except Exception as error:
                answer = error
            channel.send(pickle.dumps(answer), FOREVER)


if __name__ == "__main__":
    main()
