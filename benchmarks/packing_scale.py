"""How low `pack` gets with many buffers, and the time that it takes.

    python -m sysopt_gym.benchmarks.packing_scale
    python -m sysopt_gym.benchmarks.packing_scale --sizes 1000 100000 --seconds 60

Two kinds of problem without a capacity: the buffers of a generated transformer's train step, alive
from the first to the last use, of which half live for half of the program; and random ones, of
which one in twenty lives twenty times as long as the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np

from ..core.budget import Budget
from ..datasets.memory_mapping.packing import Packing, packing_faults
from ..envs.memory_mapping.static import make_static
from ..methods.memory_mapping.packing import pack, warm_up
from .memory_scale import make_program

INSTRUCTIONS_A_BUFFER = 52 / 44
LIFE, LONGER, LONG_SHARE = 20, 20, 0.05  # of random buffers: mean life; of the long-lived ones
UNIT, MOST_UNITS = 512, 1000  # bytes, and the largest random size in them


def train_step(count: int) -> Packing:
    """Return the buffers of a train step, about so many."""
    static = make_static(make_program(round(count * INSTRUCTIONS_A_BUFFER)))
    buffers = len(static.buf_size)
    first, last = np.full(buffers, len(static.instr_slow)), np.zeros(buffers, np.int64)
    np.minimum.at(first, static.dec_buffer, static.dec_instr)
    np.maximum.at(last, static.dec_buffer, static.dec_instr)
    names = tuple(map(str, range(buffers)))
    return Packing("train step", names, first, last + 1, static.buf_size, 0)


def random_lives(count: int, seed: int = 0) -> Packing:
    """Draw buffers that begin at any time.

    Args:
        count: buffers, and times.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    lower, size = rng.integers(0, count, count), UNIT * rng.integers(1, MOST_UNITS, count)
    longer = np.where(rng.random(count) < LONG_SHARE, LONGER, 1)
    life = rng.geometric(1 / LIFE, count) * longer
    return Packing("random", tuple(map(str, range(count))), lower, lower + life, size, 0)


def rows(problem: Packing, budgets: Sequence[float]) -> Iterator[str]:
    """Pack a problem; yield the rows of a Markdown table.

    Args:
        problem: of n buffers.
        budgets: seconds.

    Raises:
        AssertionError: buffers overlap.
    """
    for seconds in budgets:
        wall, cpu = time.perf_counter(), time.process_time()
        packed = pack(problem, Budget(seconds), 0)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        faults = packing_faults(problem, packed.offsets, packed.height)
        if faults:
            raise AssertionError(f"{problem.name}: {faults[0]}")
        above = f"{packed.height / packed.bound - 1:.2%}"
        yield (
            f"| {problem.name}, {len(problem.ids):,} | {seconds:g} s | {wall:.2f} s | {cpu:.2f} s "
            f"| {packed.status if packed.status == 'optimal' else above} |"
        )


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[300, 3000, 30_000], help="buffers")
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0], help="budgets")
    arguments = parser.parse_args()
    warm_up()
    print("| buffers | budget | wall | CPU | above the bound |\n|---|---:|---:|---:|---:|")
    for make in (train_step, random_lives):
        for size in arguments.sizes:
            for row in rows(make(size), arguments.seconds):
                print(row, flush=True)


if __name__ == "__main__":
    main()
