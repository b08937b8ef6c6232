"""Join a Ray cluster, or start one of this machine alone, with errors that say what to do."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from ..core.errors import SettingError

LOCAL = "local"  # in place of an address: a cluster of this machine alone
CONNECT_S = 10.0  # seconds in which a cluster's port must answer


def join(address: str, **options: Any) -> None:
    """Connect this process to a Ray cluster.

    Args:
        address: as `ray start` prints it, or "auto" for the cluster that this machine is part of;
            LOCAL starts one here, and joins no other.
        **options: further arguments of `ray.init`.

    Raises:
        SettingError: no cluster answers at the address.
    """
    import ray

    try:
        host, _, port = address.rpartition("/")[2].rpartition(":")
        if host and port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), CONNECT_S).close()
        with own_sigterm():
            ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if address == LOCAL:
            raise
        raise SettingError(
            f"--ray {address}: no Ray cluster answers there ({error}); start one with `ray start "
            "--head` and give the address that it prints, set RAY_AUTH_MODE=token if it was "
            f"started with one, or give --ray {LOCAL}"
        ) from error


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
