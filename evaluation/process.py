"""Run a contender in a process of its own, from the judge's side: start, ask, time, limit, end."""

from __future__ import annotations

import os
import pickle
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import psutil

from ..core.budget import Budget
from ..core.errors import SettingError, SysOptError
from ..core.play import Task, as_action, play_policy, view
from ..core.problem import Problem
from ..core.registry import Entry, contender_entry, load_problem, tables
from ..core.solution import Solution
from .channel import Channel, TimeUp, TooLong
from .isolation import isolated, needed
from .joined_process import Lifeline, start_joined
from .messages import (
    MOST_BYTES,
    Acted,
    AnswerError,
    Begin,
    Begun,
    Failed,
    Observe,
    Plan,
    Planned,
    Question,
    Ready,
    Rest,
    Start,
    decode,
    one_line,
)
from .process_tree import LAUNCH, ProcessTree, adopt_orphans

SETUP_LIMIT_S = 600.0
MOST_PRINTED = 2**24  # bytes of a contender's output that are kept
SHARE_OF_MEMORY = 0.75  # of the machine's, for all contenders that play at a time
CORES_FACTOR, CORES_GRACE_S = 1.1, 0.25  # CPU seconds are counted in ticks, and Python has threads
GIBIBYTE = 2**30
SHORTEST_S = 1e-6  # of an answer that took no longer than its messages
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
class Limits:
    """What a contender's process, with all that it starts, may use.

    Attributes:
        cores: CPU seconds that it may take in a second.
        memory: bytes of private memory.

    Raises:
        SettingError: less than one core, or less memory than Python needs.
    """

    cores: int
    memory: int

    def __post_init__(self) -> None:
        if not 1 <= self.cores <= (os.cpu_count() or 1):
            raise SettingError(
                f"--cores {self.cores}: give 1 to {os.cpu_count()}, the cores of this machine"
            )
        if self.memory < GIBIBYTE // 4:
            raise SettingError(
                f"--memory {self.memory / GIBIBYTE:g}: a contender needs a quarter of a GiB or more"
            )

    @classmethod
    def shared(cls, cores: int, memory_gib: float | None, workers: int) -> Limits:
        """Return the limits of each of several contenders that play at a time.

        Args:
            cores: cores of each.
            memory_gib: GiB of each; None for an equal part of SHARE_OF_MEMORY.
            workers: contenders that play at a time.
        """
        if memory_gib is None:
            memory = SHARE_OF_MEMORY * psutil.virtual_memory().total / workers
        else:
            memory = memory_gib * GIBIBYTE
        return cls(cores, int(memory))

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores} and {self.memory / GIBIBYTE:.1f} GiB each"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A contender's solution and its cost.

    Attributes:
        solution: what the contender returned.
        wall_s: seconds from the question to the answer by the judge's clock, less what the messages
            took; of a player the sum over its actions.
        cpu_s: CPU seconds of its process and of all that it started.
        excess: how it took more cores than it was given; empty if it did not.
    """

    solution: Solution
    wall_s: float
    cpu_s: float
    excess: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A run without a solution.

    Attributes:
        status: "crashed" or "hung".
        error: the reason, as far as it is known.
    """

    status: Literal["crashed", "hung"]
    error: str


class ContenderRaised(Exception):
    """A contender raised an exception; its process can be asked again."""


class Stopped(Exception):
    """A run has ended without an answer that can be read; its process is of no use any more.

    Attributes:
        trouble: what happened.
    """

    def __init__(self, status: Literal["crashed", "hung"], error: str) -> None:
        super().__init__(error)
        self.trouble = Trouble(status, error)


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
        limits: what its process may use.
        hidden: files and folders that its process, which is isolated, does not see; None for one
            that is not isolated.
        setup_s: seconds of starting, loading and warming up.
    """

    def __init__(
        self,
        family: str,
        contender: str,
        budget: Budget,
        limits: Limits | None = None,
        hidden: Sequence[Path] | None = None,
    ) -> None:
        self.family, self.contender, self.budget = family, contender, budget
        self.limits, self.hidden = limits or Limits.shared(1, None, 1), hidden
        self.setup_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None
        self._channel: Channel | None = None
        self._log: IO[bytes] | None = None
        self._lifeline: Lifeline | None = None  # whose end the process waits for
        self._failed_start: Trouble | None = None
        # Seconds that a message takes, and each of its bytes.
        self._transfer = 0.0, 0.0
        self._asked_s = 0.0  # of the run, from questions to answers, with their messages

    def start(self) -> None:
        """Start the process and warm the contender up, unless that has been done."""
        if self._process is not None or self._failed_start is not None:
            return
        began = time.perf_counter()
        self._launch()
        first = Start(self.family, self.contender, self.budget, tables(), list(sys.path))
        try:
            self._measure_transfer()
            self._send(pickle.dumps(first), SETUP_LIMIT_S)
            answer = self._receive(SETUP_LIMIT_S, "not ready")
            if isinstance(answer, Failed):
                raise Stopped("crashed", answer.error)
            self._expect(answer, Ready)
        except Stopped as stopped:
            self.close()
            self._failed_start = stopped.trouble
        self.setup_s = time.perf_counter() - began

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that its process and all that it started have taken so far."""
        tree = self._tree  # another thread may end it
        return 0.0 if tree is None else sum(tree.cpu_seconds().values())

    def play(self, instance: Any, seed: int, world_seed: int) -> Outcome | Trouble:
        """Run the contender on its view of an instance; an oracle's is the whole instance.

        A player's environment is played in this process: its world stays here, too.

        Args:
            instance: the whole instance; what the contender may not see stays in this process.
            seed: seed of the contender.
            world_seed: seed of the environment.
        """
        self.start()
        if self._failed_start is not None:
            return self._failed_start
        assert self._tree is not None
        entry, problem = contender_entry(self.family, self.contender), load_problem(self.family)
        task = Task(instance, self.budget, seed, world_seed)
        before = self._tree.cpu_seconds()
        try:
            found = self._run(problem, entry, task, before)
            self._tree.end(spared=before)
            self._send(pickle.dumps(Rest()), SETUP_LIMIT_S)
            self._expect(self._receive(SETUP_LIMIT_S, "not ready again"), Ready)
        except Stopped as stopped:
            self.close()
            return stopped.trouble
        return found

    def _run(
        self, problem: Problem[Any], entry: Entry, task: Task, before: Mapping[int, float]
    ) -> Outcome | Trouble:
        """Put a task to the contender.

        Args:
            problem: the family.
            entry: the contender's, in the registry.
            task: the whole instance, and the world's seed.
            before: CPU seconds by process, before the task.
        """
        assert self._tree is not None
        self._asked_s = 0.0
        try:
            if entry.form == "player":
                solution, wall_s = self._play_policy(problem, task)
            else:
                shown = replace(task, instance=view(problem, entry.role, task.instance))
                solution, wall_s = self._plan(shown, entry.role == "oracle")
        except ContenderRaised as raised:
            return Trouble("crashed", str(raised))
        after = self._tree.cpu_seconds()
        cpu_s = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
        # Reading a message takes CPU time, too: of a player's many quick answers, most of it.
        return Outcome(solution, wall_s, cpu_s, _excess(cpu_s, self._asked_s, self.limits))

    def close(self) -> None:
        """End the process and all that it started, whatever it is doing."""
        self.kill()
        if self._process is not None:
            self._process.wait()
        if self._tree is not None:
            self._tree.forget()
        if self._log is not None:
            self._log.close()
        if self._lifeline is not None:
            self._lifeline.close()
        self._process = self._tree = self._channel = self._log = self._lifeline = None

    def kill(self) -> None:
        """Kill the process and all that it started; a waiting `play` then returns a crash."""
        if self._tree is not None:
            self._tree.end()
        if self._channel is not None:
            self._channel.close()

    def _launch(self) -> None:
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 (closed in close)

        def command(end: str, lifeline: str) -> list[str]:
            words = [sys.executable, "-m", f"{__package__}.worker"]
            words += [end, lifeline, str(self.limits.memory)]
            if self.hidden is None:
                return words
            entry = contender_entry(self.family, self.contender)
            return isolated(words, needed(entry), self.hidden)

        with LAUNCH:
            adopt_orphans()
            self._process, ours, self._lifeline = start_joined(
                command,
                os.environ | dict.fromkeys(THREAD_VARIABLES, str(self.limits.cores)),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )
            self._tree = ProcessTree(self._process.pid)
        self._channel = Channel(ours)

    def _measure_transfer(self) -> None:
        """Measure what messages take, before any code of the contender is loaded."""
        seconds = {}
        for size in (0, 2**20):
            message = pickle.dumps(np.zeros(size, np.uint8))
            times = []
            for _ in range(5):
                began = time.perf_counter()
                self._send(message, SETUP_LIMIT_S)
                self._expect(self._receive(SETUP_LIMIT_S, "not ready"), Ready)
                times.append(time.perf_counter() - began)
            # The first message waits for the process to be loaded.
            seconds[size] = min(times[1:])
        self._transfer = seconds[0], max(0.0, seconds[2**20] - seconds[0]) / 2**20

    def _plan(self, task: Task, is_oracle: bool) -> tuple[Solution, float]:
        number = secrets.randbits(63)
        world_seed = task.world_seed if is_oracle else 0
        plan = Plan(number, task.instance, task.budget, task.seed, world_seed)
        answer, wall_s = self._ask(plan, Planned, answer_limit(self.budget))
        assert isinstance(answer, Planned)
        try:
            return answer.solution(wall_s), wall_s
        except AnswerError as error:
            raise _refused(error) from error

    def _play_policy(self, problem: Problem[Any], task: Task) -> tuple[Solution, float]:
        policy = _RemotePolicy(self)
        try:
            solution = play_policy(problem, policy, task, lambda: policy.seconds)
        except (Stopped, ContenderRaised):
            raise
        except Exception as error:  # an action that the environment does not take
            text = one_line(error, plain=isinstance(error, SysOptError))
            raise ContenderRaised(text) from error
        return solution, policy.seconds

    def _ask(
        self, question: Question, kind: type[Planned | Begun | Acted], limit_s: float
    ) -> tuple[Planned | Begun | Acted, float]:
        """Return the answer of the expected kind, and the seconds that it took."""
        assert self._channel is not None
        message = pickle.dumps(question)
        self._channel.drop_unread()
        began = time.perf_counter()
        self._send(message, limit_s)
        data = self._receive_bytes(limit_s, "no answer")
        wall_s = time.perf_counter() - began
        self._asked_s += wall_s
        answer = _decoded(data)
        if isinstance(answer, Ready) or answer.number != question.number:
            raise _refused(AnswerError("it answers a question that was not asked"))
        if isinstance(answer, Failed):
            raise ContenderRaised(answer.error)
        self._expect(answer, kind)
        latency, per_byte = self._transfer
        taken = wall_s - latency - per_byte * (len(message) + len(data))
        return answer, max(taken, SHORTEST_S)

    def _send(self, message: bytes, limit_s: float) -> None:
        assert self._channel is not None
        try:
            self._channel.send(message, limit_s)
        except TimeUp:
            raise Stopped("hung", f"does not read for {limit_s:.0f} s") from None
        except OSError:
            raise Stopped("crashed", self._last_words()) from None

    def _receive(self, limit_s: float, late: str) -> Ready | Planned | Begun | Acted | Failed:
        return _decoded(self._receive_bytes(limit_s, late))

    def _receive_bytes(self, limit_s: float, late: str) -> bytes:
        assert self._channel is not None
        try:
            return self._channel.receive(limit_s, MOST_BYTES, self._watch)
        except TimeUp:
            text = f"{late} after {limit_s:.0f} s; the process was ended"
            raise Stopped("hung", text) from None
        except TooLong as error:
            raise _refused(AnswerError(str(error))) from None
        except (EOFError, OSError):
            raise Stopped("crashed", self._last_words()) from None

    def _watch(self) -> None:
        """End the waiting for a process that has ended, or takes more memory than it was given."""
        assert self._process is not None and self._tree is not None and self._log is not None
        if self._process.poll() is not None:
            raise EOFError
        if os.fstat(self._log.fileno()).st_size > MOST_PRINTED:
            os.ftruncate(self._log.fileno(), 0)
        taken = self._tree.private_bytes()
        if taken > self.limits.memory:
            text = (
                f"took {taken / GIBIBYTE:.1f} GiB of memory, over its limit of "
                f"{self.limits.memory / GIBIBYTE:.1f} GiB; --memory sets another"
            )
            raise Stopped("crashed", text)

    def _expect(self, answer: object, kind: type) -> None:
        if not isinstance(answer, kind):
            got, expected = type(answer).__name__, kind.__name__
            raise _refused(AnswerError(f"a message {got} in place of {expected}"))

    def _last_words(self) -> str:
        """Return how the process ended, and the last lines that it printed."""
        assert self._process is not None and self._log is not None
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "the process closed its socket"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        size = os.fstat(self._log.fileno()).st_size
        self._log.seek(max(0, size - 2000))
        lines = self._log.read(2000).decode(errors="replace").strip().splitlines()
        said = f"; its last words: {' | '.join(lines[-3:])}" if lines else ""
        return f"the process {how}{said}"


class _RemotePolicy:
    """A player in another process; see contracts.Policy.

    Attributes:
        seconds: seconds that it has taken for its answers, less what the messages took.
    """

    def __init__(self, worker: Worker) -> None:
        self.seconds = 0.0
        self._worker = worker

    def reset(self, instance: Any, budget: Budget, seed: int) -> None:
        number = secrets.randbits(63)
        self._exchange(Begin(number, instance, budget, seed), Begun)

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        number = secrets.randbits(63)
        answer = self._exchange(Observe(number, observation, info), Acted)
        assert isinstance(answer, Acted)
        try:
            return as_action(answer.action.decoded())
        except AnswerError as error:
            raise _refused(error) from error

    def _exchange(
        self, question: Begin | Observe, kind: type[Begun | Acted]
    ) -> Planned | Begun | Acted:
        limit_s = max(1.0, answer_limit(self._worker.budget) - self.seconds)
        answer, seconds = self._worker._ask(question, kind, limit_s)
        self.seconds += seconds
        return answer


def _decoded(data: bytes) -> Ready | Planned | Begun | Acted | Failed:
    try:
        return decode(data)
    except AnswerError as error:
        raise _refused(error) from error


def _refused(error: AnswerError) -> Stopped:
    return Stopped("crashed", f"answer refused: {one_line(error, plain=True)}")


def _excess(cpu_s: float, wall_s: float, limits: Limits) -> str:
    """Return how a run took more cores than it was given; empty if it did not."""
    if cpu_s <= CORES_FACTOR * limits.cores * wall_s + CORES_GRACE_S:
        return ""
    return (
        f"took {cpu_s:.2f} CPU seconds in {wall_s:.2f} s, more than {limits.cores} core(s) give; "
        "--cores gives each contender more"
    )
