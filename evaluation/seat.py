"""A seat of a comparison: contenders play there one after the other, and each plan is judged."""

from __future__ import annotations

import math
import platform
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..core.budget import Budget
from ..core.contracts import World
from ..core.provenance import provenance
from ..core.registry import contender_entry, load_problem
from ..core.results import Row
from .cells import Cell
from .conditions import cpu_model, package_versions
from .judge import anytime_curve, judged, null_objective
from .process import Limits, Outcome, Trouble, Worker

LOOK_S = 0.5  # between two looks at a contender that starts
SLOW_START_CPU_S = 8.0  # after which it is being compiled: importing torch takes half of that

# What becomes of a cell: its contender starts, and compiles perhaps; it plays; it has ended.
Moment = Literal["starts", "compiles", "plays", "ended"]
Advance = Callable[[Cell, Moment], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms under which all contenders of a comparison play.

    Attributes:
        budgets: family -> budget of a plan.
        timing: conditions under which times are measured, in words.
        cores: cores of each contender.
        memory_gib: memory of each contender, in GiB; None for its part of the machine's.
        at_a_time: contenders that play on this machine at a time.
        hidden: files and folders that isolated contenders do not see; None for contenders that are
            not isolated.
    """

    budgets: Mapping[str, Budget]
    timing: str
    cores: int = 1
    memory_gib: float | None = None
    at_a_time: int = 1
    hidden: tuple[Path, ...] | None = None

    @property
    def limits(self) -> Limits:
        """What each contender's process may use on this machine."""
        return Limits.shared(self.cores, self.memory_gib, self.at_a_time)


class Seat:
    """Plays cells one after the other, with one process for all cells of a contender in a row.

    Args:
        terms: those of the comparison.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._worker: Worker | None = None

    def start(self, cell: Cell, compiles: Callable[[], None]) -> None:
        """Start the cell's contender and warm it up, unless it is the one that plays here.

        Args:
            cell: the cell.
            compiles: called once, by another thread, if it takes so many CPU seconds that it must
                be compiling.
        """
        worker, started = self._worker_of(cell), threading.Event()

        def watch() -> None:
            while not started.wait(LOOK_S):
                if worker.cpu_seconds() > SLOW_START_CPU_S:
                    compiles()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            worker.start()
        finally:
            started.set()
            watcher.join()

    def play(self, cell: Cell) -> Row:
        """Play a cell and judge the result."""
        there = self._worker_of(cell)
        outcome = there.play(cell.entry.instance, cell.seed, cell.world_seed)
        row = replace(blank_row(cell, self._terms), setup_s=there.setup_s)
        if isinstance(outcome, Trouble):
            return replace(row, status=outcome.status, error=outcome.error)
        return _with_plan(row, cell, outcome, there.budget)

    def _worker_of(self, cell: Cell) -> Worker:
        """Return the process of the cell's contender, in place of another contender's."""
        family, contender = cell.entry.family, cell.contender
        there = self._worker
        if there is None or (there.family, there.contender) != (family, contender):
            self.close()
            terms = self._terms
            there = Worker(family, contender, terms.budgets[family], terms.limits, terms.hidden)
            self._worker = there
        return there

    def close(self) -> None:
        """End the contender's process."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None


def blank_row(cell: Cell, terms: Terms) -> Row:
    """Return the row of a cell whose contender has handed in no plan.

    It is scored as the null plan in the world at the end of the budget.

    Args:
        cell: the cell.
        terms: those of the comparison.
    """
    entry, problem = cell.entry, load_problem(cell.entry.family)
    budget = terms.budgets[entry.family]
    objective = problem.objective(entry.instance)
    known_best = problem.best_known(entry.instance)
    null = null_objective(problem, entry.instance, World(cell.world_seed, budget.seconds))
    contender = contender_entry(entry.family, cell.contender)
    return Row(
        family=entry.family,
        instance=entry.instance.name,
        instance_hash=entry.instance_hash,
        settings=dict(entry.settings),
        contender=cell.contender,
        role=contender.role,
        form=contender.form,
        seed=cell.seed,
        world_seed=cell.world_seed,
        scored_objective=null,
        null_objective=null,
        objective_name=objective.name,
        direction=objective.direction,
        unit=objective.unit,
        status="crashed",
        best_known=known_best[0] if known_best else None,
        is_live=problem.is_live(entry.instance),
        is_random=problem.is_random(entry.instance),
        setup_s=0.0,
        budget_s=budget.seconds,
        env_version=problem.env_version,
        timing=terms.timing,
        host=platform.node(),
        processor=cpu_model(),
        versions=package_versions(),
        provenance=provenance(contender),
        cores=terms.cores,
    )


def _with_plan(row: Row, cell: Cell, outcome: Outcome, budget: Budget) -> Row:
    """Return the row completed with the judgement of the contender's plan."""
    problem, instance = load_problem(row.family), cell.entry.instance
    solution = outcome.solution
    answer = judged(problem, instance, outcome, World(row.world_seed, outcome.wall_s), budget)
    found = answer.found
    curve = anytime_curve(
        problem,
        instance,
        solution.incumbents,
        row.world_seed,
        outcome.wall_s,
        math.nan if row.is_live else found.objective,
    )
    return replace(
        row,
        objective=found.objective,
        scored_objective=answer.scored_objective,
        feasible=found.feasible,
        violations=tuple(found.violations),
        status=answer.status,
        bound=answer.bound,
        wall_s=outcome.wall_s,
        cpu_s=outcome.cpu_s,
        late=answer.late,
        error=outcome.excess,
        note=answer.note,
        actions=np.asarray(solution.actions).tolist(),
        curve=tuple(curve),
        detail={key: float(value) for key, value in found.detail.items()},
    )
