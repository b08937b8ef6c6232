"""What goes over the pipe between the runner and a worker process, pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium

from ..core import registry
from ..core.budget import Budget
from ..core.solution import Solution

TABLES = ("FAMILIES", "ENVIRONMENTS", "SOLVERS", "AGENTS", "POLICIES", "ORACLES")


@dataclass(frozen=True)
class Start:
    """Who plays: sent once.

    Attributes:
        registry: the parent's registry tables, so that contenders registered at run time are known
            here too.
        search_path: the parent's sys.path.
    """

    family: str
    contender: str
    budget: Budget
    registry: dict[str, dict[str, Any]]
    search_path: list[str]


@dataclass(frozen=True)
class Task:
    """One cell. The world seed is for the environment of a policy; contenders are not given it."""

    instance: Any
    budget: Budget
    seed: int
    world_seed: int


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


def registry_tables() -> dict[str, dict[str, Any]]:
    """The registry as it stands, to be sent to a worker."""
    return {name: dict(getattr(registry, name)) for name in TABLES}


def adopt_registry(tables: dict[str, dict[str, Any]]) -> None:
    """Makes the parent's registry this process's, environments included."""
    for name, table in tables.items():
        getattr(registry, name).update(table)
    package = (__package__ or "").rpartition(".")[0]
    for env_id, entry in registry.ENVIRONMENTS.items():
        if env_id not in gymnasium.registry:
            point = package + entry if entry.startswith(".") else entry
            gymnasium.register(id=env_id, entry_point=point)
