"""End a worker, and all that it started, at the moment its parent dies."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from .joined_process import joined_socket

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


def end_with_parent(lifeline: str) -> None:
    """Kill this process's group as soon as nobody holds the other end of a lifeline any more.

    On Linux the kernel sends the signal, so that neither a computation that keeps the interpreter
    to itself nor the end of the thread that started this process plays a part; `PR_SET_PDEATHSIG`
    depends on that thread, and reaches this process only. Elsewhere a thread waits for the end of
    the lifeline, and acts when the interpreter lets it; without process groups (Windows) it ends
    this process alone.

    Args:
        lifeline: the word of `joined_process` for a lifeline into which nothing is written and
            whose other end only the parent holds. A parent that is dead already counts.
    """
    if not lifeline.isdecimal():
        end = joined_socket(lifeline)
        _watch(lambda: end.recv(1), lambda: os._exit(1))
        return
    descriptor = int(lifeline)
    if fcntl is not None and hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_ASYNC)
    _watch(lambda: os.read(descriptor, 1), lambda: os.killpg(0, signal.SIGKILL))


def _watch(wait: Callable[[], object], then: Callable[[], object]) -> None:
    """Do something in a thread as soon as waiting has ended, by an error or not."""

    def watch() -> None:
        try:
            wait()
        finally:
            then()

    threading.Thread(target=watch, daemon=True).start()
