"""Compiles ahead of time what families' contenders and their judge run: a process for each family.

The first run of a contender on a machine compiles its code, which takes up to two minutes and stays
on disk. `compare` plays one contender at a time, so it would compile one at a time, too.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from ..core.contracts import World
from ..core.errors import SettingError
from ..core.lookup import check_name
from ..core.play import WARM_UP_S, warm_up
from ..core.printable import printable
from ..core.registry import (
    adopt,
    contender_names,
    family_names,
    load_contender,
    load_problem,
    tables,
)
from .judge import judge
from .process import THREAD_VARIABLES


def warm_up_families(names: Sequence[str], processes: int | None = None) -> None:
    """Compile what the contenders of families run, and print a line for each.

    A contender that cannot start, as where its packages are not installed, is left out.

    Args:
        names: families; all if empty.
        processes: families at a time; by default one for each core.

    Raises:
        UnknownNameError: no such family.
        SettingError: fewer than one process.
    """
    families = [check_name(name, family_names(), "family") for name in names] or family_names()
    count = processes if processes is not None else os.cpu_count() or 1
    if count < 1:
        raise SettingError(f"--processes {processes}: give at least 1")
    os.environ |= dict.fromkeys(THREAD_VARIABLES, "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(count, len(families)), context, adopt, (tables(),)) as pool:
        for done in as_completed([pool.submit(warm_up_family, name) for name in families]):
            try:
                done.result()
            except BrokenProcessPool:
                _tell("a contender ended its process; what is left compiles at its first use")
                break


def warm_up_family(family: str) -> None:
    """Compile what the contenders of a family run, in this process.

    Args:
        family: its name.
    """
    began = time.perf_counter()
    problem = load_problem(family)
    instance = problem.warm_up_instance()
    judge(problem, instance, problem.null_plan(instance), World())
    _tell(f"{family}: the judge is ready after {time.perf_counter() - began:.1f} s")
    for name in contender_names(family):
        began = time.perf_counter()
        try:
            warm_up(load_contender(family, name), problem, WARM_UP_S)
        except Exception as error:  # others' code: compare gives it rows that say so
            _tell(f"{family}: {name} is left out: {error}")
        else:
            _tell(f"{family}: {name} is ready after {time.perf_counter() - began:.1f} s")


def _tell(line: str) -> None:
    print(printable(line), flush=True)
