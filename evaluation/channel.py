"""One end of the socket between the judge and a contender's process: whole messages, in time."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable

LENGTH = struct.Struct("<Q")
BUFFER = 2**22  # bytes
WATCH_S = 0.5  # between two looks at a process that is waited for


class TimeUp(Exception):
    """No whole message passed within the limit."""


class TooLong(Exception):
    """A message is announced as longer than any can be."""


class Channel:
    """Sends and receives messages of bytes, each after its length.

    Args:
        end: the socket, of which this object becomes the owner.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        # A message that the buffer holds is sent at once; where less is allowed, that is taken.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._end = end

    def send(self, data: bytes, limit_s: float) -> None:
        """Send a message.

        Args:
            data: the message.
            limit_s: seconds after which the other side counts as not reading; may be infinite.

        Raises:
            TimeUp: the other side did not read it in time.
            OSError: the other side is gone.
        """
        deadline, left = time.perf_counter() + limit_s, memoryview(LENGTH.pack(len(data)) + data)
        while left:
            with contextlib.suppress(BlockingIOError):
                left = left[self._end.send(left) :]
                continue
            remaining = deadline - time.perf_counter()
            if remaining <= 0:
                raise TimeUp
            select.select([], [self._end], [], min(remaining, WATCH_S))

    def receive(self, limit_s: float, most: int, watch: Callable[[], None] = lambda: None) -> bytes:
        """Receive a message.

        Args:
            limit_s: seconds until the whole message must have arrived; may be infinite.
            most: largest allowed length of the message, in bytes.
            watch: called every WATCH_S seconds while waiting; what it raises ends the waiting.

        Raises:
            TimeUp: the message did not arrive, or not all of it.
            TooLong: it is announced as longer than `most`.
            EOFError, OSError: the other side is gone.
        """
        deadline = time.perf_counter() + limit_s
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size, deadline, watch))
        if length > most:
            raise TooLong(f"an answer of {length} bytes, over the limit of {most}")
        return self._exactly(length, deadline, watch)

    def drop_unread(self) -> None:
        """Forget what the other side sent unasked."""
        with contextlib.suppress(BlockingIOError):
            while self._end.recv(2**16):
                pass

    def close(self) -> None:
        """Close this end; whoever waits on the other one, or in `receive`, is told so."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()

    def _exactly(self, length: int, deadline: float, watch: Callable[[], None]) -> bytes:
        parts: list[bytes] = []
        look = time.perf_counter() + WATCH_S
        while length:
            # Also while it arrives byte by byte.
            if time.perf_counter() >= look:
                watch()
                look = time.perf_counter() + WATCH_S
            if time.perf_counter() >= deadline:
                raise TimeUp
            try:
                part = self._end.recv(min(length, 2**20))
            except BlockingIOError:
                wait = min(deadline, look) - time.perf_counter()
                select.select([self._end], [], [], max(wait, 0.0))
                continue
            if not part:
                raise EOFError
            parts.append(part)
            length -= len(part)
        return b"".join(parts)
