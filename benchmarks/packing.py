"""Measure the speed of the exact packing search on MiniMalloc's eleven published instances.

Whole calls of `pack` are timed, greedy heuristics included and reading the file excluded, in
seconds of CPU, as packings per second. The search's orders were chosen on these very instances, and
it breaks ties by row; so each repeat shuffles the rows, and every other one reverses time. The
reference is google/minimalloc, which cannot be run here: its CPU seconds, built from source, were
measured on another machine of two cores.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from ..core.budget import Budget
from ..core.contracts import Throughput
from ..core.errors import InstanceError
from ..datasets.memory_mapping.packing import Packing, load_packing, packing_faults
from ..datasets.sets import data_folder
from ..methods.memory_mapping.packing import pack, warm_up

# CPU seconds of minimalloc.
ELSEWHERE = {
    "A": 5.4, "B": 4.1, "C": 0.8, "D": 3.1, "E": 4.6, "F": 6.1, "G": 1.5, "H": 2.3, "I": 4.5,
    "J": 0.9, "K": 0.6,
}  # fmt: skip
CAPACITY = 1 << 20
BUDGET_S = 60.0
REPEATS = 6
REFERENCE = "minimalloc's CPU seconds, measured on another machine"


def measure() -> list[Throughput]:
    """Measure packings within the capacity per CPU second, by instance.

    Raises:
        InstanceError: the instances are not in the data folder.
    """
    problems = {name: load_instance(name) for name in ELSEWHERE}
    warm_up()
    found = []
    for name, problem in problems.items():
        seconds = sorted(_seconds(disguised(problem, seed), seed) for seed in range(REPEATS))
        speed = 1 / seconds[len(seconds) // 2]
        spread = (1 / seconds[0] - 1 / seconds[-1]) / 2 / speed
        what = f"exact packing of {name}, {len(problem.ids)} buffers"
        found.append(
            Throughput(what, speed, "packings/CPU s", REFERENCE, 1 / ELSEWHERE[name], spread)
        )
    return found


def load_instance(name: str) -> Packing:
    """Load one of the eleven instances, "A" to "K".

    Raises:
        InstanceError: it is not in the data folder.
    """
    path = data_folder() / "programs" / "minimalloc" / f"{name}.{CAPACITY}.csv"
    if not path.is_file():
        raise InstanceError(
            f"packing: no file {path}; set SYSOPT_DATA to the folder that holds "
            f"programs/minimalloc/{path.name}, from the benchmarks of google/minimalloc"
        )
    return load_packing(path)


def disguised(problem: Packing, seed: int) -> Packing:
    """Return the same problem with its rows shuffled and, for odd seeds, time reversed.

    Args:
        problem: the instance.
        seed: seed of the order.
    """
    rows = np.random.default_rng(seed).permutation(len(problem.ids))
    lower, upper = problem.lower[rows], problem.upper[rows]
    if seed % 2:
        end = upper.max()
        lower, upper = end - upper, end - lower
    ids = tuple(problem.ids[row] for row in rows)
    return replace(problem, ids=ids, lower=lower, upper=upper, size=problem.size[rows])


def _seconds(problem: Packing, seed: int) -> float:
    """Return CPU seconds until a packing is found; its check is not timed."""
    started = time.process_time()
    packed = pack(problem, Budget(seconds=BUDGET_S), seed)
    spent = time.process_time() - started
    faults = packing_faults(problem, packed.offsets, problem.capacity)
    if faults:
        raise AssertionError(f"{problem.name}: {packed.status}; {faults[0]}")
    return spent
