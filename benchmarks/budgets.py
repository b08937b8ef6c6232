"""How contenders keep their budgets on an instance, what they find, and the memory that they take.

    python -m sysopt_gym.benchmarks.budgets vm_rescheduling --instances huge:test/1 --seconds 1
    python -m sysopt_gym.benchmarks.budgets sequence_design ga coms --generate rows=1000000

Each contender plays each instance once in a process of its own, and is judged, as in `compare`; the
tables have the seconds that it used, also as parts of its budget.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ..core.budget import Budget
from ..core.contracts import World
from ..core.errors import SysOptError
from ..core.problem import Problem
from ..core.registry import contender_names, load_problem
from ..core.sources import apply_settings
from ..evaluation.catalog import load, parse_settings
from ..evaluation.judge import judged, world_seed
from ..evaluation.process import Trouble, Worker

MEBIBYTE = 2**10  # in the unit of /proc's VmHWM


@dataclass(frozen=True, slots=True)
class Run:
    """What a contender did with an instance.

    Attributes:
        contender: its name.
        wall_s: wall-clock seconds that it took; 0.0 without an answer.
        cpu_s: CPU seconds that it took; 0.0 without an answer.
        memory: most memory that its process took, in MiB, loading included; 0.0 where it has ended.
        objective: of its plan, by which it is ranked; None without an answer.
        status: as in the rows of a comparison, with the reason where there is no plan.
    """

    contender: str
    wall_s: float
    cpu_s: float
    memory: float
    objective: float | None
    status: str


def run(problem: Problem[Any], instance: Any, contender: str, seconds: float, seed: int = 0) -> Run:
    """Run a contender on an instance, and judge what it hands in.

    Args:
        problem: the family.
        instance: the whole instance.
        contender: its name.
        seconds: of the budget.
        seed: of the contender.
    """
    budget, world = Budget(seconds), world_seed(instance.content_hash, seed)
    worker = Worker(problem.family, contender, budget)
    try:
        found = worker.play(instance, seed, world)
        memory = sum(map(_peak, psutil.Process().children(recursive=True)))
    finally:
        worker.close()
    if isinstance(found, Trouble):
        return Run(contender, 0.0, 0.0, memory, None, f"{found.status}: {found.error}")
    answer = judged(problem, instance, found, World(world, found.wall_s), budget)
    status = ": ".join((answer.status, *answer.found.violations[:1]))
    return Run(contender, found.wall_s, found.cpu_s, memory, answer.found.objective, status)


def _peak(process: psutil.Process) -> float:
    """Return the most memory that a process has taken so far, in MiB; 0.0 if it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return sum(map(int, sizes)) / MEBIBYTE


def table(
    problem: Problem[Any], instance: Any, seconds: float, contenders: Sequence[str]
) -> Iterator[str]:
    """Run contenders on an instance; yield the rows of a Markdown table as they are known.

    Args:
        problem: the family.
        instance: the whole instance.
        seconds: of each run's budget.
        contenders: names.
    """
    objective = problem.objective(instance)
    yield (
        f"| {instance.name}, {seconds:g} s | seconds | of the budget | CPU seconds | MiB "
        f"| {objective.name} | status |"
    )
    yield "|---|---:|---:|---:|---:|---:|---|"
    for name in contenders:
        one = run(problem, instance, name, seconds)
        value = "" if one.objective is None else f"{one.objective:.6g}"
        yield (
            f"| {name} | {one.wall_s:.3f} | {one.wall_s / seconds:.3f} | {one.cpu_s:.3f} "
            f"| {one.memory:.0f} | {value} | {one.status} |"
        )


def instances_of(
    problem: Problem[Any], argument: str | None, generate: Sequence[str], pairs: Sequence[str]
) -> list[Any]:
    """Return the instances that the command line names.

    Args:
        problem: the family.
        argument: a set, one instance of a set, or a file; None for a generated instance.
        generate: "key=value" texts of the generator's parameters; read without `argument`.
        pairs: "key=value" texts of settings.

    Raises:
        SysOptError: there are no such instances, parameters or settings.
    """
    if argument is not None:
        return load(problem.family, argument, pairs)[1]
    parameters = parse_settings(generate, problem.generator_parameters, "generator parameter")
    settings = parse_settings(pairs, problem.settings, "setting")
    return [apply_settings(problem, problem.generate(parameters, 0), settings)]


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family")
    parser.add_argument("contenders", nargs="*", help="names; all of the family if none")
    parser.add_argument("--instances", help="a set, one instance of it, or a file")
    parser.add_argument("--generate", nargs="*", default=[], help="the generator's parameters")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the instances")
    parser.add_argument("--seconds", nargs="+", type=float, default=[1.0], help="budgets")
    arguments = parser.parse_args()
    try:
        problem = load_problem(arguments.family)
        known = contender_names(problem.family)
        for name in arguments.contenders:
            if name not in known:
                parser.error(f"{name}: none of {', '.join(known)}")
        found = instances_of(problem, arguments.instances, arguments.generate, arguments.set)
    except SysOptError as error:
        sys.exit(str(error))
    for instance in found:
        for seconds in arguments.seconds:
            for line in table(problem, instance, seconds, arguments.contenders or known):
                print(line, flush=True)
            print(flush=True)


if __name__ == "__main__":
    main()
