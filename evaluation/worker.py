"""The process a contender runs in: `python -m sysopt_gym.evaluation.worker FD`.

Over one pipe the parent sends a `Start` and gets "ready" or a `Failure`; then it repeatedly sends a
`Task` and gets an `Outcome` or a `Failure`, until it closes the pipe.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from ..core import registry
from ..core.contracts import Contender
from ..core.errors import SysOptError
from ..core.play import Task, run, warm_up
from ..core.problem import Problem
from .protocol import Failure, Outcome, Start


def serve(pipe: Connection) -> None:
    """Answer the parent's messages until it closes the pipe."""
    start: Start = pipe.recv()
    sys.path[:] = start.search_path
    try:
        registry.adopt(start.registry)
        problem = registry.load_problem(start.family)
        contender = registry.load_contender(start.family, start.contender)
        warm_up(contender, problem, start.budget.seconds)
    except Exception as error:
        pipe.send(_failure("before the first instance: ", error))
        return
    pipe.send("ready")
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(play(problem, contender, task))
        except Exception as error:
            pipe.send(_failure("", error))


def play(problem: Problem[Any], contender: Contender, task: Task) -> Outcome:
    """Run a contender and measure its seconds.

    Args:
        problem: the family.
        contender: the contender to run.
        task: the instance, the budget and the seeds.

    Raises:
        TypeError: the contender did not return a Solution.
    """
    gc.collect()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    solution = run(contender, problem, task)
    return Outcome(solution, time.perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _failure(when: str, error: Exception) -> Failure:
    kind = "" if isinstance(error, SysOptError) else f"{type(error).__name__}: "
    return Failure(f"{when}{kind}{error}", traceback.format_exc())


def _end_with_parent() -> None:
    """End this process and all that it started when the parent dies, even during a computation."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run the worker on the pipe whose file descriptor is the first argument."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe = Connection(int(sys.argv[1]))
    try:
        serve(pipe)
    except (BrokenPipeError, ConnectionResetError, EOFError):
        return


if __name__ == "__main__":
    main()
