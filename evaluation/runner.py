"""Play every contender on every instance: one worker process per contender, one row per cell.

Cells run one after the other by default, so that times are comparable; if asked, in parallel
processes or on a Ray cluster.
"""

from __future__ import annotations

import math
import os
import pickle
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from queue import Queue

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..core import registry
from ..core.budget import Budget
from ..core.contracts import World
from ..core.errors import MissingDependencyError, OutputError, SettingError
from ..core.printable import printable, shortened
from ..core.provenance import provenance
from ..core.registry import contender_entry, load_problem
from ..core.results import Row
from ..core.signals import own_sigterm
from .cells import Cell, Entry, Folder, check_contenders, check_resume
from .conditions import package_versions
from .isolation import closed_memory
from .judge import anytime_curve, judged, null_objective, world_seed
from .process import Limits, Outcome, Trouble, Worker

LONGEST_SHOWN = 60  # characters beside the progress bar


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison plays.

    Attributes:
        entries: the instances.
        contenders: family -> names of contenders.
        budgets: family -> budget of a plan.
        seeds: seeds of each contender's runs on each instance.
        workers: contenders that play at a time.
        ray: address of a Ray cluster ("local" starts one here), or None.
        baseline: name of the contender that the others are compared with; None for the families'.
        nonce: what world seeds are made with, beside instance and seed; None for that of the
            folder, or a new one.
        cores: cores of each contender.
        memory_gib: memory of each contender, in GiB; None for its part of the machine's.
        hidden: files and folders that isolated contenders do not see, beside the folder of the
            rows; None for contenders that are not isolated.
    """

    entries: Sequence[Entry]
    contenders: dict[str, list[str]]
    budgets: dict[str, Budget]
    seeds: Sequence[int]
    workers: int = 1
    ray: str | None = None
    baseline: str | None = None
    nonce: str | None = None
    cores: int = 1
    memory_gib: float | None = None
    hidden: tuple[Path, ...] | None = None

    @property
    def limits(self) -> Limits:
        """What each contender's process may use."""
        at_a_time = os.cpu_count() or 1 if self.ray else self.workers
        return Limits.shared(self.cores, self.memory_gib, at_a_time)

    def cells(self, nonce: str) -> list[Cell]:
        """List all cells, contender by contender, so that each is started once.

        Args:
            nonce: what world seeds are made with.
        """
        return [
            Cell(entry, name, seed, world_seed(entry.instance_hash, seed, nonce))
            for family, names in self.contenders.items()
            for name in names
            for entry in self.entries
            if entry.family == family
            for seed in self.seeds
        ]

    @property
    def timing(self) -> str:
        """Conditions under which times are measured, in words."""
        if self.ray:
            how = "cells side by side on a Ray cluster: seconds include what neighbors take"
        elif self.workers > 1:
            how = f"{self.workers} processes at a time: seconds include what neighbors take"
        else:
            how = "one contender at a time"
        return f"{how}; {self.limits}{'' if self.hidden is None else '; isolated'}"


def play(
    plan: Plan,
    folder: Folder,
    resume: bool = False,
    quiet: bool = False,
    ready: Callable[[], None] | None = None,
) -> list[Row]:
    """Play the cells that are not in the folder yet, and return all of its rows.

    Args:
        plan: what to play.
        folder: where each row is written as soon as it is known.
        resume: whether to continue the comparison in the folder.
        quiet: whether to hide the progress bar.
        ready: called after all checks, before the first cell.

    Raises:
        OutputError: the folder cannot be written, or holds rows that do not belong to this
            comparison.
        SettingError: fewer than one worker, or limits that no contender can keep.
        MissingDependencyError: Ray is asked for and not installed.
    """
    if plan.workers < 1:
        raise SettingError(f"--workers {plan.workers}: give at least 1")
    if resume:
        folder.drop_half_written()
    done = folder.rows()
    budgets = {family: budget.seconds for family, budget in plan.budgets.items()}
    check_resume(done, plan.entries, budgets, plan.limits.cores, resume, folder.path)
    check_contenders(done.values(), plan.contenders, folder.path)
    nonce = _choose_nonce(plan, folder, bool(done))
    folder.prepare()
    if ready is not None:
        ready()
    folder.seal(nonce, plan.entries)
    if plan.hidden is not None:
        plan = replace(plan, hidden=(*plan.hidden, folder.path))
    open_cells = [cell for cell in plan.cells(nonce) if cell.key not in done]
    try:
        closed = nullcontext() if plan.ray else closed_memory()  # Ray looks at its driver
        with closed, _progress(len(open_cells), quiet) as advance:
            for cell, row in _run(plan, open_cells, advance):
                folder.keep(cell, row)
                advance(cell, True)
    finally:
        folder.open_up(plan.entries)
    return list(folder.rows().values())


def _choose_nonce(plan: Plan, folder: Folder, begun: bool) -> str:
    """Return the nonce of a comparison: the folder's if it has rows, else the plan's or a new one.

    Raises:
        OutputError: the folder's rows were played with another nonce than the plan's.
    """
    if not begun:
        return secrets.token_hex(8) if plan.nonce is None else plan.nonce
    was = folder.nonce()
    if plan.nonce not in (None, was):
        raise OutputError(
            f"{folder.path}: its rows were played in the worlds of --nonce {was!r}, this is "
            f"{plan.nonce!r}; leave --nonce out, or choose another --out"
        )
    return was


def run_cell(cell: Cell, worker: Worker, timing: str) -> Row:
    """Play a cell and judge the result.

    Args:
        cell: what to play.
        worker: the contender's process.
        timing: conditions under which times are measured, in words.
    """
    entry, problem = cell.entry, load_problem(cell.entry.family)
    seed = cell.world_seed
    outcome = worker.play(entry.instance, cell.seed, seed)
    objective = problem.objective(entry.instance)
    known_best = problem.best_known(entry.instance)
    # A failed run is scored as the null plan in the world at the end of the budget.
    null = null_objective(problem, entry.instance, World(seed, worker.budget.seconds))
    contender = contender_entry(entry.family, cell.contender)
    row = Row(
        family=entry.family,
        instance=entry.instance.name,
        instance_hash=entry.instance_hash,
        settings=dict(entry.settings),
        contender=cell.contender,
        role=contender.role,
        form=contender.form,
        seed=cell.seed,
        world_seed=seed,
        scored_objective=null,
        null_objective=null,
        objective_name=objective.name,
        direction=objective.direction,
        unit=objective.unit,
        status="crashed",
        best_known=known_best[0] if known_best else None,
        is_live=problem.is_live(entry.instance),
        is_random=problem.is_random(entry.instance),
        setup_s=worker.setup_s,
        budget_s=worker.budget.seconds,
        env_version=problem.env_version,
        timing=timing,
        versions=package_versions(),
        provenance=provenance(contender),
        cores=worker.limits.cores,
    )
    if isinstance(outcome, Trouble):
        return replace(row, status=outcome.status, error=outcome.error)
    return _with_plan(row, cell, outcome, worker.budget)


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


Advance = Callable[[Cell, bool], None]


def _run(plan: Plan, cells: list[Cell], advance: Advance) -> Iterator[tuple[Cell, Row]]:
    if plan.ray:
        return _run_on_ray(plan, cells)
    groups = [
        list(group)
        for _, group in groupby(cells, key=lambda cell: (cell.entry.family, cell.contender))
    ]
    if plan.workers == 1:
        return _run_in_turn(plan, groups, advance)
    return _run_in_parallel(plan, groups, advance)


def _worker(plan: Plan, cells: list[Cell]) -> Worker:
    family = cells[0].entry.family
    return Worker(family, cells[0].contender, plan.budgets[family], plan.limits, plan.hidden)


def _run_group(
    plan: Plan, cells: list[Cell], worker: Worker, advance: Advance
) -> Iterator[tuple[Cell, Row]]:
    """Play one contender's cells, one after the other."""
    try:
        for cell in cells:
            advance(cell, False)
            yield cell, run_cell(cell, worker, plan.timing)
    finally:
        worker.close()


def _run_in_turn(
    plan: Plan, groups: list[list[Cell]], advance: Advance
) -> Iterator[tuple[Cell, Row]]:
    """Play one contender at a time; no other's process is there meanwhile."""
    for group in groups:
        yield from _run_group(plan, group, _worker(plan, group), advance)


def _run_in_parallel(
    plan: Plan, groups: list[list[Cell]], advance: Advance
) -> Iterator[tuple[Cell, Row]]:
    """Play in parallel processes; long groups are split so that all are busy to the end."""
    total = sum(len(group) for group in groups)
    size = max(1, -(-total // (4 * plan.workers)))
    jobs = [group[at : at + size] for group in groups for at in range(0, len(group), size)]
    found: Queue[tuple[Cell, Row] | Exception] = Queue()
    workers: list[Worker] = []
    stop = threading.Event()

    def work(job: list[Cell]) -> None:
        try:
            worker = _worker(plan, job)
            workers.append(worker)
            for pair in _run_group(plan, job, worker, advance):
                if stop.is_set():
                    return
                found.put(pair)
        except Exception as error:
            found.put(error)

    pool = ThreadPoolExecutor(plan.workers)
    try:
        for job in jobs:
            pool.submit(work, job)
        for _ in range(total):
            pair = found.get()
            if isinstance(pair, Exception):
                raise pair
            yield pair
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()
        pool.shutdown()


def _run_on_ray(plan: Plan, cells: list[Cell]) -> Iterator[tuple[Cell, Row]]:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "--ray needs the package 'ray'; install it with pip install 'sysopt-gym[agents]'"
        ) from error
    address = None if plan.ray == "local" else plan.ray
    try:
        with own_sigterm():
            ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError) as error:
        raise SettingError(
            f"--ray {plan.ray}: no Ray cluster answers there ({error}); start one with `ray start "
            "--head`, "
            "or give --ray local"
        ) from error
    try:
        task = ray.remote(max_retries=0)(_ray_cell).options(num_cpus=plan.cores)
        jobs = {}
        for cell in cells:
            about = plan.budgets[cell.entry.family], plan.limits, plan.hidden
            job = pickle.dumps((cell, *about, plan.timing, registry.tables()))
            jobs[task.remote(job, list(sys.path))] = cell
        while jobs:
            (ended,), _ = ray.wait(list(jobs), num_returns=1)
            yield jobs.pop(ended), ray.get(ended)
    finally:
        ray.shutdown()


def _ray_cell(job: bytes, search_path: list[str]) -> Row:
    """Play a cell on a node of the cluster, with the sender's registry and search path."""
    sys.path += [place for place in search_path if place not in sys.path]
    cell, budget, limits, hidden, timing, tables = pickle.loads(job)
    registry.adopt(tables)
    worker = Worker(cell.entry.family, cell.contender, budget, limits, hidden)
    try:
        return run_cell(cell, worker, timing)
    finally:
        worker.close()


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Advance]:
    """Show a progress bar over the cells, with contender, instance and the time left."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=quiet) as bar:
        task = bar.add_task("starting", total=total)

        def advance(cell: Cell, ended: bool) -> None:
            text = f"{cell.contender} on {cell.entry.instance.name}"
            bar.update(
                task,
                description=shortened(printable(text), LONGEST_SHOWN),
                advance=1 if ended else 0,
            )

        yield advance
