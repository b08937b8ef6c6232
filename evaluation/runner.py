"""Play every contender on every instance: one row per cell, kept as soon as it is known.

Cells are played one after the other by default, so that times are comparable; if asked, at several
seats of this machine or of a Ray cluster.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Queue

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..core.budget import Budget
from ..core.errors import OutputError, SettingError
from ..core.printable import printable, shortened
from ..core.results import Row
from . import cluster
from .cells import Cell, Entry, Folder, check_contenders, check_resume
from .isolation import closed_memory
from .judge import world_seed
from .schedule import Schedule, contender_of
from .seat import Advance, Moment, Seat, Terms
from .seat_process import SeatLost, SeatProcess

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
    def terms(self) -> Terms:
        """The terms under which all contenders play.

        Raises:
            SettingError: limits that no contender on this machine can keep.
        """
        if self.ray:
            how = f"as many at a time on each Ray node as get {self.cores} core(s) each"
        elif self.workers > 1:
            how = f"{self.workers} processes at a time: seconds include what neighbors take"
        else:
            how = "one contender at a time"
        terms = Terms(
            self.budgets, how, self.cores, self.memory_gib, self.workers, hidden=self.hidden
        )
        limits = "" if self.ray else f"; {terms.limits}"
        isolated = "" if self.hidden is None else "; isolated"
        return replace(terms, timing=f"{how}{limits}{isolated}")


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
    check_resume(done, plan.entries, budgets, plan.cores, resume, folder.path)
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
        with closed, _progress(open_cells, quiet) as advance:
            for cell, row in _run(plan, open_cells, advance):
                folder.keep(cell, row)
                advance(cell, "ended")
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


def _run(plan: Plan, cells: list[Cell], advance: Advance) -> Iterator[tuple[Cell, Row]]:
    if plan.ray:
        return cluster.run(plan.ray, cells, plan.terms, advance)
    if plan.workers == 1:
        return _run_in_turn(plan, cells, advance)
    return _run_side_by_side(plan, cells, advance)


def _run_in_turn(plan: Plan, cells: list[Cell], advance: Advance) -> Iterator[tuple[Cell, Row]]:
    """Play one contender at a time; no other's process is there meanwhile."""
    seat = Seat(plan.terms)
    try:
        for cell in cells:
            advance(cell, "starts")
            seat.start(cell, partial(advance, cell, "compiles"))
            advance(cell, "plays")
            yield cell, seat.play(cell)
    finally:
        seat.close()


def _run_side_by_side(
    plan: Plan, cells: list[Cell], advance: Advance
) -> Iterator[tuple[Cell, Row]]:
    """Play at several seats, each in a process of its own and kept by a thread of this one."""
    schedule = Schedule(cells, plan.terms)
    found: Queue[tuple[Cell, Row] | Exception] = Queue()
    seats = [SeatProcess(plan.terms) for _ in range(plan.workers)]

    def play_at(seat: SeatProcess) -> None:
        started = None
        try:
            while (cell := schedule.take(started)) is not None:
                advance(cell, "plays")
                try:
                    row: Row | None = schedule.played(cell, seat.play(cell))
                    started = contender_of(cell)
                except SeatLost as lost:
                    row = schedule.lost(cell, str(lost))
                    started = None
                if row is not None:
                    found.put((cell, row))
        except Exception as error:
            found.put(error)
        finally:
            seat.close()

    threads = [threading.Thread(target=play_at, args=(seat,)) for seat in seats]
    try:
        for thread in threads:
            thread.start()
        for _ in cells:
            pair = found.get()
            if isinstance(pair, Exception):
                raise pair
            yield pair
    finally:
        schedule.clear()
        for seat in seats:
            seat.kill()
        for thread in threads:
            thread.join()


@contextmanager
def _progress(cells: Sequence[Cell], quiet: bool) -> Iterator[Advance]:
    """Show a progress bar over the cells, with contender, instance and the time left.

    It is on the standard error. Where that is no terminal, a line follows the last cell of each
    contender instead. A contender that takes long to start is said to be compiled.

    Args:
        cells: those to be played.
        quiet: whether to show nothing.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    waiting = Counter(contender_of(cell) for cell in cells)
    begun: set[tuple[str, str]] = set()
    began, ended_cells = time.perf_counter(), 0
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task("starting", total=len(cells))

        def show(text: str) -> None:
            bar.update(task, description=shortened(printable(text), LONGEST_SHOWN))

        def tell(line: str) -> None:
            if not (quiet or console.is_terminal):
                print(printable(line), file=sys.stderr, flush=True)

        def advance(cell: Cell, moment: Moment) -> None:
            nonlocal ended_cells
            who = contender_of(cell)
            if moment == "starts":
                if who not in begun:
                    begun.add(who)
                    show(f"starting {cell.contender}")
            elif moment == "compiles":
                show(f"compiling {cell.contender}, first time only")
                tell(f"{' '.join(who)}: compiling {cell.contender}, first time only")
            elif moment == "plays":
                first = " (first compiled, if never before)" if who not in begun else ""
                begun.add(who)
                show(f"{cell.contender} on {cell.entry.instance.name}{first}")
            else:
                bar.update(task, advance=1)
                waiting[who] -= 1
                ended_cells += 1
                if not waiting[who]:
                    line = f"{' '.join(who)}: done, {ended_cells} of {len(cells)} runs after "
                    tell(f"{line}{time.perf_counter() - began:.0f} s")

        yield advance
