"""What contenders of memory_mapping plan in a compiler's budgets, and whether they keep them.

    python -m sysopt_gym.benchmarks.memory_milliseconds reader threshold --instances models:test hlo

Contenders are named as `compare` takes them, policies by their folders, too. They run in this
process, warm, and their clock counts CPU seconds of this thread: other jobs of the machine change
nothing but the caches. Late is what ends after its budget, by no matter how little; `compare`
forgives 5 % and 20 ms. The last column pairs contenders program by program: by how many per cent
the first contender's speed-up is larger, as the geometric mean over the programs, with its 95 %
bootstrap interval; there every plan counts, late ones too. Last, each budget's share of programs on
which the first contender is at least as good as the best of the others.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from ..core.budget import Budget
from ..core.contender_arguments import name_contender
from ..core.contracts import World
from ..core.registry import load_contender
from ..datasets.memory_mapping.instance import Program
from ..envs.memory_mapping.problem import PROBLEM
from ..evaluation.headline import interval
from ..evaluation.statistics import mean
from .timing import count_cpu_seconds

CONTENDERS = (
    "reader", "agent", "alphazero", "ppo", "portfolio", "local_search", "threshold", "beam",
    "greedy", "xla_msa",
)  # fmt: skip
INSTANCES = ("models:test", "hlo", "synthetic:test")
SECONDS = (0.01, 0.03, 0.1)
WARM_S = 0.1
EQUAL = 1e-3  # per cent


def main() -> None:
    """Read the command line and print a row of a Markdown table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--instances", nargs="+", default=list(INSTANCES))
    parser.add_argument("--seconds", nargs="+", type=float, default=list(SECONDS))
    given = parser.parse_args()
    count_cpu_seconds()
    names = [name_contender(PROBLEM.family, text) for text in given.contenders]
    first = names[0]
    print(
        "| instances | budget | contender | mean speed-up | late as 1 | late | most ms "
        f"| {first} ahead by |"
    )
    print("|---|---|---|---|---|---|---|---|")
    programs = [one for name in given.instances for one in PROBLEM.sets.load(name)]
    base: dict[float, np.ndarray] = {}
    others: dict[float, np.ndarray] = {}
    for contender in names:
        for seconds, (found, took) in plays(contender, programs, given.seconds).items():
            late = took > seconds
            base.setdefault(seconds, found)
            if contender != first:
                others[seconds] = np.maximum(found, others.get(seconds, found))
            ahead = mean(100 * np.log(base[seconds] / found))
            print(
                f"| {' '.join(given.instances)} | {1000 * seconds:g} ms | `{contender}` "
                f"| {found.mean():.4f} | {np.where(late, 1.0, found).mean():.4f} "
                f"| {late.sum()} of {len(programs)} | {1000 * took.max():.1f} "
                f"| {ahead.value:.2f} % {interval(ahead)} |",
                flush=True,
            )
    for seconds, best in others.items():
        behind = 100 * (1 - base[seconds] / best)
        print(
            f"{1000 * seconds:g} ms: {first} at least as good as the best of the others on "
            f"{(behind <= EQUAL).sum()} of {len(programs)}, at most {behind.max():.2f} % behind"
        )


def plays(
    contender: str, programs: list[Program], budgets_s: list[float]
) -> dict[float, tuple[np.ndarray, np.ndarray]]:
    """Let a contender plan all programs, after a warm-up on each.

    Args:
        contender: name of the contender.
        programs: the programs.
        budgets_s: seconds a plan.

    Returns:
        Budget -> the judged speed-ups and the seconds taken, float64 [programs] each.
    """
    solve = load_contender(PROBLEM.family, contender).object
    for program in programs:
        solve(program, Budget(WARM_S), 0)
    found = {}
    for seconds in budgets_s:
        speedups, took = [], []
        for program in programs:
            began = time.thread_time()
            plan = solve(program, Budget(seconds), 0).actions
            took.append(time.thread_time() - began)
            speedups.append(PROBLEM.validate(program, np.asarray(plan), World()).objective)
        found[seconds] = np.array(speedups), np.array(took)
    return found


if __name__ == "__main__":
    main()
