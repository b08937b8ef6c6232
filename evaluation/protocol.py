"""Messages between the runner and a worker process, pickled."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Budget
from ..core.registry import Tables
from ..core.solution import Solution


@dataclass(frozen=True)
class Start:
    """First message to a worker: which contender to run.

    Attributes:
        family: name of the family.
        contender: name of the contender.
        budget: the budget of each run.
        registry: the parent's registry, with what was registered at run time.
        search_path: the parent's sys.path.
    """

    family: str
    contender: str
    budget: Budget
    registry: Tables
    search_path: list[str]


@dataclass(frozen=True)
class Outcome:
    """A contender's solution and its cost.

    Attributes:
        solution: what the contender returned.
        wall_s: wall-clock seconds.
        cpu_s: CPU seconds of all threads and of child processes that have ended.
    """

    solution: Solution
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Failure:
    """An exception that the contender raised.

    Attributes:
        error: last line of the traceback.
        trace: the whole traceback.
    """

    error: str
    trace: str
