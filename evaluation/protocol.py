"""What goes over the pipe between the runner and a worker process, pickled."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Budget
from ..core.registry import Tables
from ..core.solution import Solution


@dataclass(frozen=True)
class Start:
    """Who plays: sent once.

    Attributes:
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
    """What came back, and its cost in seconds; cpu_s counts threads and ended child processes."""

    solution: Solution
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Failure:
    """The contender raised; the last line of the traceback and the traceback."""

    error: str
    trace: str
