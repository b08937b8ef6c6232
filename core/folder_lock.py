"""Let one process at a time write into a folder."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputError
from .files import unwritable
from .notes import note

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".sysopt-gym.lock"
BETWEEN_TRIES_S = 0.1


@contextlib.contextmanager
def sole_writer(folder: Path, elsewhere: str, patience_s: float = 0.0) -> Iterator[None]:
    """Keep others from writing into a folder during the block.

    The kernel holds the lock, so that it ends with its process, however that ends.

    Args:
        folder: the folder, which is made if it is missing.
        elsewhere: what else the user may name, such as "another --out".
        patience_s: seconds to wait for a holder that is about to end.

    Raises:
        OutputError: another process writes there, or this one may not.
    """
    path, last = folder / LOCK, time.monotonic() + patience_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (descriptor := _locked(path)) is None and time.monotonic() < last:
            time.sleep(BETWEEN_TRIES_S)
    except OSError as error:
        raise OutputError(f"{folder}: {unwritable(error, elsewhere=elsewhere)}") from error
    if descriptor is None:
        raise OutputError(
            f"{folder}: {_holder(path)} writes there; wait until it has ended, or choose "
            f"{elsewhere}"
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Return the descriptor of a lock that is now ours; None if it is another's."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is None:
            raise OSError(0, "this system has no such locks")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:  # a file system without locks
        note(f"{path}: cannot be locked ({error.strerror}); let no other process write there")
    try:
        ours = os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        ours = False
    if not ours:  # the holder before took the file away after we had opened it
        os.close(descriptor)
        return _locked(path)
    with contextlib.suppress(OSError):  # a full disk; the lock holds without a name
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return descriptor


def _holder(path: Path) -> str:
    """Say which process holds a lock."""
    try:
        text = path.read_bytes()[:200].decode(errors="replace")
    except OSError:
        text = ""
    return text if text.isprintable() and text else "another process"
