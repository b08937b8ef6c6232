"""Keeps the host program's answer to SIGTERM where a library would put in its own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Start ray in the block without its handler of SIGTERM, which prints a trace and aborts the
    process in the middle of training; where the program has no handler of its own, ray's stays.
    """
    own = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(own) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, own)
