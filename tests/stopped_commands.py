"""Commands of the toy family in processes of their own, with trouble in the middle of writes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import toy_family

# The command line of the toy family, which plays one contender and draws its report on demand.
RUN = """
import dataclasses, os, toy_family
from sysopt_gym.evaluation import comparison
alone = dataclasses.replace(toy_family.Toy.defaults, always=(), baseline="slow")
toy_family.Toy.defaults = alone
toy_family.register()
if "REPORT" not in os.environ:
    comparison.write_report = lambda folder: []
from sysopt_gym.cli import main; main()
"""
COMPARE = ("compare", "toy", "--contenders", "slow", "--seeds", "2", "--nonce", "n")
COMPARE += ("--budget", "2")  # it sleeps for 0.8 s
CELLS = 3 * 2  # instances, seeds
PATIENCE_S = 300.0
# What a child does at its n-th write through to the disk: in the middle of a file.
TROUBLE = """
import errno, os, signal, sys, time
what, at = os.environ.get("TROUBLE", "none:0").split(":")
left, sync = int(at), os.fsync
def fsync(file):
    global left
    left -= 1
    if left == 0 and what != "clock":
        if what == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.kill(os.getpid(), getattr(signal, what))
    sync(file)
if "worker" not in " ".join(sys.orig_argv):
    os.fsync = fsync
if what == "clock":
    import itertools, random
    jumps = random.Random(at)
    time.time = lambda: jumps.uniform(0.0, 4e9)  # from 1970 to 2096
    time.time_ns = lambda: int(time.time() * 1e9)
"""


def hear_sigint() -> None:
    """Undo in a child that a shell makes what it runs in the background deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Command:
    """A command of the toy family's command line in a process of its own.

    Attributes:
        mark: a text in the environment of the process and of all that it starts.
    """

    def __init__(
        self, *words: object, trouble: str = "none:0", report: bool = False, **popen: Any
    ) -> None:
        self.mark = f"SYSOPT_TEST_MARK={uuid.uuid4()}"
        places = [TROUBLES.name, str(Path(toy_family.__file__).parent), os.environ["PYTHONPATH"]]
        name, _, value = self.mark.partition("=")
        own = {"PYTHONPATH": os.pathsep.join(places), "TROUBLE": trouble, name: value}
        if report:
            own["REPORT"] = "1"
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | popen
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *map(str, words)],
            env=os.environ | own,
            preexec_fn=hear_sigint,
            **popen,
        )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Wait for the end, and return the exit code and what was said."""
        said = self.process.communicate(timeout=PATIENCE_S)[0]
        return self.process.returncode, " ".join((said or b"").decode().split())

    def left_behind(self) -> list[psutil.Process]:
        """Return what the command started and what still runs."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                block = Path(f"/proc/{one.pid}/environ").read_bytes()
                if self.mark.encode() in block and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
        return found


TROUBLES = tempfile.TemporaryDirectory()
(Path(TROUBLES.name) / "sitecustomize.py").write_text(TROUBLE)
os.environ.setdefault("PYTHONPATH", "")


def wait_for(condition: Callable[[], object]) -> None:
    last = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < last, "it never came"
        time.sleep(0.01)


def rows(out: Path) -> list[dict[str, Any]]:
    """The rows of a comparison, but for one at the end that is being written or was cut off."""
    path = out / "rows.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def table(out: Path) -> dict[str, Any]:
    """All of a comparison that is the same each time: a cell -> plan, objective, worlds."""
    cell = "contender", "instance", "seed"
    kept = "status", "objective", "actions", "world_seed"
    return {
        " ".join(str(row[key]) for key in cell): [row.get(key) for key in kept] for row in rows(out)
    }
