"""End a worker, and all that it started, at the moment its parent dies."""

from __future__ import annotations

import fcntl
import os
import signal
import threading


def end_with_parent(lifeline: int) -> None:
    """Kill this process's group as soon as nobody holds the other end of a pipe any more.

    On Linux the kernel sends the signal, so that neither a computation that keeps the interpreter
    to itself nor the end of the thread that started this process plays a part; `PR_SET_PDEATHSIG`
    depends on that thread, and reaches this process only. Elsewhere a thread waits for the end of
    the pipe, and acts when the interpreter lets it.

    Args:
        lifeline: file descriptor of the end to read from, of a pipe into which nothing is written
            and whose other end only the parent holds. A parent that is dead already counts.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    threading.Thread(target=_kill_group_at_end, args=(lifeline,), daemon=True).start()


def _kill_group_at_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)
