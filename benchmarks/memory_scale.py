"""How the contenders of memory mapping keep their budgets as programs grow, and what they find.

    python -m sysopt_gym.benchmarks.memory_scale
    python -m sysopt_gym.benchmarks.memory_scale agent beam --sizes 1000 10000 50000 --seconds 1 10

The programs are train steps of generated transformers of about so many instructions. Each contender
plays each of them in a process of its own, as in `compare`; the compiled game scores the plans.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..core.budget import Budget
from ..core.registry import contender_names, load_problem
from ..datasets.memory_mapping.generator import generate
from ..datasets.memory_mapping.instance import Program
from ..envs.memory_mapping.objective import speedup
from ..envs.memory_mapping.plan import carried_out
from ..evaluation.judge import is_late
from ..evaluation.process import Outcome, Worker

FAMILY = "memory_mapping"
INSTRUCTIONS_A_LAYER = 52


@dataclass(frozen=True, slots=True)
class Run:
    """What a contender did with a program.

    Attributes:
        contender: its name.
        wall_s: wall-clock seconds that it took.
        late: whether it overran its budget by more than the judge allows.
        speedup: of its plan; 0.0 without a plan.
        trouble: why there is no plan; empty if there is one.
    """

    contender: str
    wall_s: float
    late: bool
    speedup: float
    trouble: str = ""


def make_program(instructions: int, seed: int = 0) -> Program:
    """Generate the train step of a transformer.

    Args:
        instructions: about how many it has.
        seed: of the generator.
    """
    layers = max(1, round(instructions / INSTRUCTIONS_A_LAYER))
    return generate({"kind": "transformer", "train": "1", "layers": str(layers)}, seed)


def run(contender: str, program: Program, seconds: float) -> Run:
    """Run a contender on a program and play its plan.

    Args:
        contender: name.
        program: the program.
        seconds: of the budget.

    Raises:
        SolutionError: its plan is not legal to the end.
    """
    worker = Worker(FAMILY, contender, Budget(seconds))
    try:
        found = worker.play(program, 0, 0)
    finally:
        worker.close()
    if not isinstance(found, Outcome):
        return Run(contender, 0.0, True, 0.0, f"{found.status}: {found.error}")
    value = speedup(*carried_out(program, found.solution.actions))
    return Run(contender, found.wall_s, is_late(found.wall_s, seconds), value)


def table(program: Program, seconds: float, contenders: Sequence[str]) -> Iterator[str]:
    """Run contenders on a program; yield the rows of a Markdown table.

    Args:
        program: the program.
        seconds: of each run's budget.
        contenders: names.
    """
    runs = []
    for name in contenders:
        print(f"{program.name}, {seconds:g} s: {name}", file=sys.stderr, flush=True)
        runs.append(run(name, program, seconds))
    best = max(one.speedup for one in runs)
    size = f"{program.n_instrs:,} instructions, {program.n_decisions:,} decisions, {seconds:g} s"
    yield f"| {size} | seconds used | speed-up | of the best |"
    yield "|---|---:|---:|---:|"
    for one in sorted(runs, key=lambda one: -one.speedup):
        used = f"{one.wall_s:.3f}{' (late)' if one.late else ''}"
        share = f"{one.speedup / best:.2%}" if best else ""
        yield f"| {one.contender} | {one.trouble or used} | {one.speedup:.4f} | {share} |"


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contenders", nargs="*", help="names; all of the family if none")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000], help="instructions")
    parser.add_argument("--seconds", nargs="+", type=float, default=[1.0], help="budgets")
    arguments = parser.parse_args()
    contenders = arguments.contenders or list(load_problem(FAMILY).defaults.contenders)
    for name in contenders:
        if name not in contender_names(FAMILY):
            parser.error(f"{name}: none of {', '.join(contender_names(FAMILY))}")
    for size in arguments.sizes:
        program = make_program(size)
        for seconds in arguments.seconds:
            for line in table(program, seconds, contenders):
                print(line, flush=True)
            print(flush=True)


if __name__ == "__main__":
    main()
