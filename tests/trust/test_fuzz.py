"""Every loader reads a file or refuses it by name, whatever stands in it: in seconds, in bounded
memory, and without a traceback.

FUZZ_SECONDS is the time of all loaders together; FUZZ_SEED chooses what is tried (`make fuzz`).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.files import VALID
from fuzz.mutate import STEPS, Step, mutated
from hypothesis import HealthCheck, Phase, given, seed, settings

SECONDS = float(os.environ.get("FUZZ_SECONDS", "15"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
BATCH = 20
PATIENCE = 240.0  # seconds on the clock, for a machine that is busy


class Reader:
    """A process that reads files, started again when a file has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, loader: str, path: Path) -> tuple[str, str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fuzz.child"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([loader, str(path)]) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
            return "ended", "took too long, or ended the process"
        how, said = json.loads(line)
        return how, said

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A process that has read a valid file of every kind."""
    found = Reader()
    for loader, make in VALID.items():
        target = make(tmp_path_factory.mktemp("valid"))
        how, said = found.read(loader, target.argument)
        assert how == "ok", f"{loader}: {said}"
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.parametrize("loader", VALID)
def test_a_broken_file_is_read_or_refused_by_name(
    reader: Reader, loader: str, tmp_path: Path
) -> None:
    target = VALID[loader](tmp_path)
    valid = target.broken.read_bytes()

    def check(steps: list[Step]) -> None:
        target.broken.write_bytes(mutated(valid, steps))
        how, said = reader.read(loader, target.argument)
        named = how == "ok" or (how == "refused" and str(tmp_path) in said)
        again = f"PYTHONPATH=tests python -m fuzz.child '{loader}' {target.argument}"
        assert named, f"{how}: {said}\nbroken by {steps}; again: {again}"

    end = time.monotonic() + SECONDS / len(VALID)
    batch = SEED
    while time.monotonic() < end:
        run = settings(
            max_examples=BATCH, database=None, deadline=None, phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck), print_blob=False,
        )(given(STEPS)(check))  # fmt: skip
        seed(batch)(run)()
        batch += 1
