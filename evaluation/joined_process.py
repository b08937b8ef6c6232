"""Start a Python process that is joined to this one by a socket and a lifeline.

Where processes inherit descriptors (Linux, macOS), the socket is one of a pair and the lifeline a
pipe. Elsewhere (Windows) the process connects to this one twice on the loopback address, and shows
a secret that its environment holds. Either way two words name the ends on its command line.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

INHERITS = hasattr(os, "fork")
SECRET = "SYSOPT_GYM_SECRET"
LOOPBACK = "127.0.0.1"
JOIN_LIMIT_S = 600.0  # until a process has connected; a busy machine takes its time


class Lifeline:
    """This process's end of a lifeline, which a process that it started ends with.

    Args:
        end: a descriptor or a socket.
    """

    def __init__(self, end: int | socket.socket) -> None:
        self._end = end

    def close(self) -> None:
        """Let go of the other process."""
        if isinstance(self._end, int):
            os.close(self._end)
        else:
            self._end.close()


def start_joined(
    command: Callable[[str, str], Sequence[str]],
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> tuple[subprocess.Popen[bytes], socket.socket, Lifeline]:
    """Start a process in a session of its own.

    Args:
        command: (words for the socket and the lifeline) -> the command.
        environment: its environment; None for this one's.
        **options: of subprocess.Popen.

    Returns:
        The process, this end of the socket, and this end of the lifeline.

    Raises:
        OSError: it cannot be started, or does not connect.
    """
    if not INHERITS:
        return _start_connected(command, environment, options)
    ours, theirs = socket.socketpair()
    lifeline, held = os.pipe()
    with theirs:
        process = subprocess.Popen(
            command(str(theirs.fileno()), str(lifeline)),
            env=environment,
            pass_fds=[theirs.fileno(), lifeline],
            start_new_session=True,
            **options,
        )
    os.close(lifeline)
    return process, ours, Lifeline(held)


def _start_connected(
    command: Callable[[str, str], Sequence[str]],
    environment: Mapping[str, str] | None,
    options: Mapping[str, Any],
) -> tuple[subprocess.Popen[bytes], socket.socket, Lifeline]:
    secret = secrets.token_hex(32)
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            command(f"{port}:socket", f"{port}:lifeline"),
            env={**(os.environ if environment is None else environment), SECRET: secret},
            **options,
        )
        found: dict[str, socket.socket] = {}
        deadline = time.monotonic() + JOIN_LIMIT_S
        listener.settimeout(0.5)
        while len(found) < 2:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise ConnectionError("the process ended before it had connected")
            with contextlib.suppress(TimeoutError):
                end = listener.accept()[0]
                shown, what = _shown(end, len(secret))
                if secrets.compare_digest(shown, secret.encode()):
                    found[what] = end
                else:
                    end.close()
    return process, found["socket"], Lifeline(found["lifeline"])


def _shown(end: socket.socket, length: int) -> tuple[bytes, str]:
    """Return the secret that a connection shows, and which end it is."""
    end.settimeout(5.0)
    read = b""
    with contextlib.suppress(OSError):
        while len(read) <= length and (part := end.recv(length + 1 - len(read))):
            read += part
    end.settimeout(None)
    return read[:length], "lifeline" if read[length:] == b"l" else "socket"


def joined_socket(word: str) -> socket.socket:
    """Return the process's own end that a word on its command line names.

    Args:
        word: the word of the socket or of the lifeline.
    """
    port, connects, what = word.partition(":")
    if not connects:
        return socket.socket(fileno=int(word))
    end = socket.create_connection((LOOPBACK, int(port)))
    end.sendall(os.environ[SECRET].encode() + what[:1].encode())
    return end
