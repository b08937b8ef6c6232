"""The process a contender runs in: `python -m sysopt_gym.evaluation.worker SOCKET LIFELINE MEMORY`.

SOCKET and LIFELINE are words of joined_process: a socket, and what ends with the judge; MEMORY is
the bytes of private memory that the process may map. The judge first sends arrays, to measure how
long messages take, then a `Start`, then questions (see messages.py), each of which is answered.
"""

from __future__ import annotations

import contextlib
import gc
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core import registry
from ..core.contracts import Contender, Policy
from ..core.errors import SysOptError
from ..core.play import Task, run, warm_up
from ..core.problem import Problem
from ..core.solution import whole_rows
from .channel import Channel
from .isolation import settle
from .joined_process import joined_socket
from .messages import (
    Acted,
    Answer,
    Array,
    Begin,
    Begun,
    Failed,
    Observe,
    Plan,
    Question,
    Ready,
    Rest,
    Start,
    encode,
    one_line,
    planned,
)
from .parent_death import end_with_parent

try:
    import resource
except ImportError:  # not on Windows, where memory is not limited
    resource = None  # type: ignore[assignment]

FOREVER = float("inf")
MOST_QUESTION = 2**40  # bytes; the judge is trusted


def serve(channel: Channel) -> None:
    """Answer the judge's messages until it closes the channel."""
    start = _receive(channel)
    while isinstance(start, np.ndarray):
        _send(channel, Ready())
        start = _receive(channel)
    assert isinstance(start, Start)
    sys.path[:] = start.search_path
    try:
        registry.adopt(start.registry)
        problem = registry.load_problem(start.family)
        contender = registry.load_contender(start.family, start.contender)
        warm_up(contender, problem, start.budget.seconds)
        gc.collect()
        gc.freeze()  # collections between runs then look at what runs leave behind, no more
    except Exception as error:
        _send(channel, _failed(0, error, "before the first instance: "))
        return
    answer = answers(problem, contender)
    question: Question | Rest = Rest()
    while True:
        if isinstance(question, Rest):
            gc.collect()
            _send(channel, Ready())
        else:
            try:
                found = answer(question)
            except Exception as error:
                found = _failed(question.number, error)
            _send(channel, found)
        question = _receive(channel)


def answers(problem: Problem[Any], contender: Contender) -> Callable[[Question], Answer]:
    """Return what answers the judge's questions to a contender.

    Args:
        problem: the family.
        contender: the contender to ask.
    """
    policies: list[Policy] = []

    def answer(question: Question) -> Answer:
        if isinstance(question, Plan):
            budget = question.budget
            task = Task(question.instance, budget, question.seed, question.world_seed)
            return planned(question.number, run(contender, problem, task))
        if isinstance(question, Begin):
            policies[:] = [contender.object()]
            policies[0].reset(question.instance, question.budget, question.seed)
            return Begun(question.number)
        assert isinstance(question, Observe)
        action = policies[0].act(question.observation, question.info)
        return Acted(question.number, Array.of(whole_rows(action)))

    return answer


def _receive(channel: Channel) -> Any:
    return pickle.loads(channel.receive(FOREVER, MOST_QUESTION))


def _send(channel: Channel, message: Ready | Answer) -> None:
    channel.send(encode(message), FOREVER)


def _failed(number: int, error: Exception, when: str = "") -> Failed:
    return Failed(number, when + one_line(error, plain=isinstance(error, SysOptError)))


def _limit_memory(most: int) -> None:
    """Let allocations of more than so many bytes fail, and be ended first where memory runs out."""
    if resource is None:
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Run the worker on the descriptors that the arguments name."""
    end, lifeline, memory = sys.argv[1:]
    channel = Channel(joined_socket(end))
    end_with_parent(lifeline)
    _limit_memory(int(memory))
    settle()
    with contextlib.suppress(EOFError, OSError):
        serve(channel)


if __name__ == "__main__":
    main()
