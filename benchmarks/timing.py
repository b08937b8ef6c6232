"""Time benchmarks: several runs take turns, and each is compared with a reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ..core import budget as budgets
from ..core.contracts import Throughput

Run = Callable[[], float]  # () -> units of work per second, after doing some


class Speed(NamedTuple):
    """A measured speed.

    Attributes:
        per_second: median over repeats.
        spread: half the range over repeats, as a fraction of the median.
    """

    per_second: float
    spread: float


def take_turns(runs: Sequence[Run], repeats: int = 3) -> list[Speed]:
    """Time runs in turns, so that other load on the machine affects all of them alike.

    Args:
        runs: functions to time, each returning its speed; each runs once more before, to warm up.
        repeats: number of turns.

    Returns:
        Speed of each run.
    """
    for run in runs:
        run()
    speeds = np.array([[run() for run in runs] for _ in range(repeats)])
    middle = np.median(speeds, axis=0)
    spread = (speeds.max(axis=0) - speeds.min(axis=0)) / 2 / middle
    return [Speed(*pair) for pair in zip(middle.tolist(), spread.tolist(), strict=True)]


def beside(
    runs: Mapping[str, Run], unit: str, reference: str, reference_run: Run, repeats: int = 3
) -> list[Throughput]:
    """Time runs beside a reference in the same process.

    Args:
        runs: name -> function to time, which returns its speed.
        unit: unit of all speeds, e.g. "steps/s".
        reference: name of the reference.
        reference_run: function that times the reference.
        repeats: number of turns.

    Returns:
        One throughput per run; its spread is the larger one of the run's and the reference's.
    """
    known, *own = take_turns([reference_run, *runs.values()], repeats)
    return [
        Throughput(
            name, speed.per_second, unit, reference, known.per_second,
            max(speed.spread, known.spread),
        )
        for name, speed in zip(runs, own, strict=True)
    ]  # fmt: skip


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread inside the context."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def count_cpu_seconds() -> None:
    """Let budgets in this process count CPU seconds of the thread, so that other jobs of the
    machine change nothing but the caches.
    """
    budgets.time = SimpleNamespace(perf_counter=time.thread_time)  # type: ignore[attr-defined, assignment]
