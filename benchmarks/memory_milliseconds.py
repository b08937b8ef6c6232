"""What contenders of memory_mapping plan in a compiler's budgets, and whether they keep them.

    python -m sysopt_gym.benchmarks.memory_milliseconds agent threshold --instances synthetic:val

Contenders run in this process, warm, and their clock counts CPU seconds of this thread: other jobs
of the machine change nothing but the caches. Late is what ends after its budget, by no matter how
little; `compare` forgives 5 % and 20 ms.
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace

import numpy as np

from ..core import budget as budgets
from ..core.budget import Budget
from ..core.contracts import World
from ..core.registry import load_contender
from ..envs.memory_mapping.problem import PROBLEM

CONTENDERS = ("agent", "alphazero", "ppo", "local_search", "threshold", "greedy")
INSTANCES = ("small:test", "synthetic:val")
SECONDS = (0.01, 0.03, 0.1)
WARM_S = 0.1


def main() -> None:
    """Read the command line and print a row of a Markdown table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--instances", nargs="+", default=list(INSTANCES))
    parser.add_argument("--seconds", nargs="+", type=float, default=list(SECONDS))
    given = parser.parse_args()
    budgets.time = SimpleNamespace(perf_counter=time.thread_time)  # type: ignore[attr-defined, assignment]
    print("| instances | budget | contender | mean speed-up | late | most ms |")
    print("|---|---|---|---|---|---|")
    for name in given.instances:
        programs = PROBLEM.sets.load(name)
        for contender in given.contenders:
            solve = load_contender(PROBLEM.family, contender).object
            for program in programs:
                solve(program, Budget(WARM_S), 0)
            for seconds in given.seconds:
                found, took = [], []
                for program in programs:
                    began = time.thread_time()
                    plan = solve(program, Budget(seconds), 0).actions
                    took.append(time.thread_time() - began)
                    found.append(PROBLEM.validate(program, np.asarray(plan), World()).objective)
                late = sum(one > seconds for one in took)
                print(
                    f"| {name} | {1000 * seconds:g} ms | `{contender}` | {np.mean(found):.4f} "
                    f"| {late} of {len(programs)} | {1000 * max(took):.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
