"""Run a contender in a worker process, from the parent's side: start, ask, time out, kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any, Literal

from ..core.budget import Budget
from ..core.play import Task, view
from ..core.problem import Problem
from ..core.registry import Entry, contender_entry, load_problem, tables
from .protocol import Failure, Outcome, Start

SETUP_LIMIT_S = 600.0
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TORCH_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A run without a solution.

    Attributes:
        status: "crashed" or "hung".
        error: the reason, as far as it is known.
    """

    status: Literal["crashed", "hung"]
    error: str


def _needs_world(problem: Problem[Any], entry: Entry, instance: Any) -> bool:
    """Whether a contender's process needs the world's seed: an oracle's, and a player's if its
    environment, which is played in that process, draws from it.
    """
    return entry.role == "oracle" or (entry.form == "player" and problem.is_random(instance))


def answer_limit(budget: Budget) -> float:
    """Return the seconds after which a worker counts as hung."""
    return 3.0 * budget.seconds + 30.0


class Worker:
    """One contender in its own process with one thread, warmed up on the family's warm-up instance.

    A worker that died or hung is replaced at the next `play`. If its contender failed to start,
    every `play` returns that failure.

    Attributes:
        family: name of the family.
        contender: name of the contender.
        budget: the budget of each run.
        setup_s: seconds of starting, loading and warming up.
    """

    def __init__(self, family: str, contender: str, budget: Budget) -> None:
        self.family, self.contender, self.budget = family, contender, budget
        self.setup_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._log: IO[bytes] | None = None
        self._failed_start: Trouble | None = None

    def start(self) -> None:
        """Start the process and warm the contender up, unless that has been done."""
        if self._process is not None or self._failed_start is not None:
            return
        began = time.perf_counter()
        ours, theirs = Pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", str(theirs.fileno())],
            env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        theirs.close()
        self._pipe = ours
        first = Start(self.family, self.contender, self.budget, tables(), list(sys.path))
        answer = self._ask(first, SETUP_LIMIT_S, "not ready")
        self.setup_s = time.perf_counter() - began
        if isinstance(answer, Failure):
            answer = Trouble("crashed", answer.error)
        if isinstance(answer, Trouble):
            self.close()
            self._failed_start = answer

    def play(self, instance: Any, seed: int, world_seed: int) -> Outcome | Trouble:
        """Run the contender on its view of an instance; an oracle's is the whole instance.

        Args:
            instance: the whole instance; what the contender may not see stays in this process.
            seed: seed of the contender.
            world_seed: seed of the environment.
        """
        self.start()
        if self._failed_start is not None:
            return self._failed_start
        problem, entry = load_problem(self.family), contender_entry(self.family, self.contender)
        seen = view(problem, entry.role, instance)
        told = world_seed if _needs_world(problem, entry, instance) else 0
        task = Task(seen, self.budget, seed, told)
        answer = self._ask(task, answer_limit(self.budget), "no answer")
        if isinstance(answer, Failure):
            return Trouble("crashed", answer.error)
        assert isinstance(answer, Outcome | Trouble)
        return answer

    def close(self) -> None:
        """End the process and all that it started, whatever it is doing."""
        self.kill()
        if self._process is not None:
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
        if self._log is not None:
            self._log.close()
        self._process = self._pipe = self._log = None

    def kill(self) -> None:
        """Kill the process and all that it started; a waiting `play` then returns a crash."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _ask(self, message: Start | Task, limit_s: float, late: str) -> Any:
        assert self._pipe is not None
        try:
            self._pipe.send(message)
            if self._pipe.poll(limit_s):
                return self._pipe.recv()
            trouble = Trouble("hung", f"{late} after {limit_s:.0f} s; the process was ended")
        except (EOFError, OSError):
            trouble = Trouble("crashed", self._last_words())
        self.close()
        return trouble

    def _last_words(self) -> str:
        """Return how the process ended, and the last lines that it printed."""
        assert self._process is not None and self._log is not None
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "the process closed its pipe"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._log.seek(0)
        lines = self._log.read()[-2000:].decode(errors="replace").strip().splitlines()
        said = f"; its last words: {' | '.join(lines[-3:])}" if lines else ""
        return f"the process {how}{said}"
