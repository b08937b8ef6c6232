"""A contender's process with all that it started: its CPU seconds and memory, and its end.

On Linux processes whose parent has ended become children of the judge, so that what a contender
detaches from itself is found, counted and ended, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import psutil

Figure = TypeVar("Figure")
_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 20  # looks for processes that were started while others were being ended

# Held while a contender's process is started, which is no orphan before it is known.
LAUNCH = threading.Lock()
_started: set[int] = set()  # contenders' processes, by their parent's Popen
_others: set[int] = set()  # children that this process had before any contender ran


def adopt_orphans() -> None:
    """Become the parent of processes that contenders leave behind, until no contender runs.

    Processes that this one has started by now, such as those of Ray, are left alone.
    """
    global _others
    if not _started:
        _others = {child.pid for child in psutil.Process().children()}
        _set_subreaper(True)


def _set_subreaper(on: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


class ProcessTree:
    """A contender's process and its descendants.

    Args:
        pid: of the process, which leads a session of its own.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        _started.add(pid)

    def members(self) -> list[psutil.Process]:
        """Return the process, its descendants, and orphans with theirs."""
        found = [self._root]
        with contextlib.suppress(psutil.NoSuchProcess):
            found += self._root.children(recursive=True)
        for orphan in _orphans():
            found.append(orphan)
            with contextlib.suppress(psutil.NoSuchProcess):
                found += orphan.children(recursive=True)
        return found

    def cpu_seconds(self) -> dict[int, float]:
        """Return CPU seconds by process, each with those of its children that have ended."""
        return dict(_each(self.members(), lambda one: sum(one.cpu_times()[:4])))

    def private_bytes(self) -> int:
        """Return the resident memory of all members, without what they share with others."""
        infos = _each(self.members(), lambda one: one.memory_info())
        return sum(info.rss - getattr(info, "shared", 0) for _, info in infos)

    def end(self, spared: Iterable[int] = ()) -> None:
        """End all members at once, also those that are started meanwhile.

        Args:
            spared: process numbers to be left alone.
        """
        spared = set(spared)
        for _ in range(_ROUNDS):
            # What ended has no children any more, but waits for its parent.
            alive = [
                one for one in self.members()
                if one.pid not in spared and _status(one) != psutil.STATUS_ZOMBIE
            ]  # fmt: skip
            if not alive:
                break
            # Stopped first, so that none can start another while the rest is being ended.
            for how in (psutil.Process.suspend, psutil.Process.kill):
                for one in alive:
                    with contextlib.suppress(psutil.Error):
                        how(one)
            psutil.wait_procs([one for one in alive if one.pid != self._root.pid], timeout=0.5)
        for orphan in _orphans():
            if _status(orphan) == psutil.STATUS_ZOMBIE:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(orphan.pid, os.WNOHANG)

    def forget(self) -> None:
        """Say that the process has ended and was waited for."""
        _started.discard(self._root.pid)
        if not _started:
            _set_subreaper(False)


def _orphans() -> list[psutil.Process]:
    """Return processes that contenders left behind.

    They are children of this process that it did not start: each is in another session, because a
    contender's process leads one, and no process can join an older one.
    """
    if not hasattr(os, "getsid"):  # where no process becomes this one's child, either
        return []
    with LAUNCH:
        children = psutil.Process().children()
        known, session = _started | _others, os.getsid(0)
    found = []
    for child in children:
        if child.pid not in known:
            with contextlib.suppress(OSError):
                if os.getsid(child.pid) != session:
                    found.append(child)
    return found


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)


def _each(
    processes: Iterable[psutil.Process], ask: Callable[[psutil.Process], Figure]
) -> Iterator[tuple[int, Figure]]:
    for one in processes:
        with contextlib.suppress(psutil.Error):
            yield one.pid, ask(one)
