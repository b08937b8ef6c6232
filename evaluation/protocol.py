"""What goes over the pipe between the runner and a worker process, pickled."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Budget
from ..core.registry import Tables
from ..core.solution import Solution


@dataclass(frozen=True)
class Start:
    """Says who plays; sent once.

    Attributes:
        family, contender: names of the family and of its contender.
        budget: of every run.
        registry: the parent's registry, so that what was registered at run time is known here, too.
        search_path: the parent's sys.path.
    """

    family: str
    contender: str
    budget: Budget
    registry: Tables
    search_path: list[str]


@dataclass(frozen=True)
class Outcome:
    """What a contender returned, and what it cost.

    Attributes:
        solution: its answer.
        wall_s: wall-clock seconds.
        cpu_s: CPU seconds of all threads and of child processes that have ended.
    """

    solution: Solution
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Failure:
    """What a contender raised.

    Attributes:
        error: the last line of the traceback.
        trace: the whole traceback.
    """

    error: str
    trace: str
