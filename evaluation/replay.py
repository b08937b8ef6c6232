"""Judge the rows of a comparison again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.contracts import World
from ..core.errors import OutputError
from ..core.registry import load_problem
from ..core.results import Row
from .cells import Folder
from .judge import TOLERANCE, judge


@dataclass(frozen=True, slots=True)
class Replayed:
    """Result of judging a row again.

    Attributes:
        row: the row.
        agrees: whether objective and feasibility are those in the row.
        why: how they differ; empty if they do not.
    """

    row: Row
    agrees: bool
    why: str = ""


def replay(row: Row, folder: Folder) -> Replayed:
    """Judge a row's actions again, in the world in which they were judged first.

    Rows without a plan (crashed, hung) always agree: they have no actions.

    Args:
        row: the row.
        folder: folder with the row's instance.

    Raises:
        OutputError: the row was made with another environment version.
        InstanceError: the instance's file is missing or damaged.
    """
    problem = load_problem(row.family)
    if row.env_version != problem.env_version:
        raise OutputError(
            f"{folder.path}: the rows were made with environment version {row.env_version} of "
            f"{row.family}, this is {problem.env_version}; run `compare` again"
        )
    if row.wall_s is None:
        return Replayed(row, True)
    actions = np.asarray(row.actions, dtype=np.int64)
    world = World(row.world_seed, row.wall_s)
    found = judge(problem, folder.instance(row), actions, world)
    if found.feasible != row.feasible:
        was, now = ("feasible", "infeasible") if row.feasible else ("infeasible", "feasible")
        return Replayed(row, False, f"was {was}, is now {now}: {'; '.join(found.violations)}")
    if found.feasible and abs(found.objective - row.objective) > TOLERANCE:
        return Replayed(row, False, f"was {row.objective!r}, is now {found.objective!r}")
    return Replayed(row, True)


def replay_all(folder: Folder) -> list[Replayed]:
    """Judge every row of a folder again.

    Raises:
        OutputError: the folder holds no rows, or rows of another environment version.
    """
    rows = list(folder.rows().values())
    if not rows:
        raise OutputError(f"{folder.path}: holds no results; `sysopt-gym compare --out` makes some")
    # Instance by instance, so that each is loaded once.
    order = sorted(range(len(rows)), key=lambda at: rows[at].instance_hash)
    found = {at: replay(rows[at], folder) for at in order}
    return [found[at] for at in range(len(rows))]
