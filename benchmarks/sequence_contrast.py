"""The genetic algorithm on a proxy that learns from what the offline set lacks, too, against `ga`.

    python -m sysopt_gym.benchmarks.sequence_contrast --out results/contrast.jsonl

No setting was chosen on the tasks here; some of their factors resemble those chosen on. Clocks
count CPU seconds of this process, in which all runs are made one after the other. Runs in the file
are not made again; the tables, in Markdown, are of all runs in it. Differences have 95 % bootstrap
intervals over the tasks of a kind, whose runs are paired by task and averaged over seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.budget import Budget
from ..core.registry import load_contender
from ..core.sources import find_instances
from ..datasets.sequence_design.instance import DesignTask, seal
from ..datasets.sequence_design.landscapes import open_oracle
from ..envs.sequence_design.problem import PROBLEM
from ..envs.sequence_design.validate import judged_batch
from ..evaluation.statistics import mean
from .sequence_rounds import Run, as_text, scores_of

CONTENDERS = ("ga_contrast", "ga")
# Not SIX6, ARX, NKX2-5, NKX2-8, HOXB7, zinc fingers and nuclear receptors: chosen on them.
FACTORS = (
    "CRX", "ESX1", "FOXC1", "HESX1", "HOXC4", "HOXD13", "ISX", "MSX2", "PAX3", "PAX4", "PAX6",
    "PAX7", "PBX4", "PHOX2B", "PITX2", "POU3F4", "POU4F3", "POU6F2", "PROP1", "VAX2", "VENTX",
    "VSX1", "VSX2",
)  # fmt: skip


def play(task: DesignTask, name: str, seed: int, seconds: float) -> Run:
    """Let a contender plan a task, and ask the oracle about its batch.

    Args:
        task: with its oracle's handle.
        name: of a planner.
        seed: of the contender.
        seconds: its budget.
    """
    solve = load_contender(PROBLEM.family, name).object
    began = time.perf_counter()
    solution = solve(seal(task), Budget(seconds), seed)
    taken = time.perf_counter() - began
    batch, uniques = judged_batch(task, np.asarray(solution.actions))
    oracle = open_oracle(task)
    scores = np.nan_to_num(oracle.normalized(oracle.score(batch)))
    return {
        "task": task.name, "contender": name, "seed": seed, "seconds": seconds,
        "median": float(np.median(scores)), "max": float(scores.max()), "uniques": uniques,
        "taken": taken,
    }  # fmt: skip


def print_tables(runs: Sequence[Run]) -> None:
    """Print each task's medians, then the differences by kind of task."""
    tasks, names, medians = scores_of(runs, "median")
    _, _, best = scores_of(runs, "max")
    print("| task | " + " | ".join(f"`{name}`" for name in names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for task, median, top in zip(tasks, medians, best, strict=True):
        cells = (f"{m:.3f} / {b:.3f}" for m, b in zip(median, top, strict=True))
        print(f"| {task} | " + " | ".join(cells) + " |")
    kinds = list(dict.fromkeys(task.partition("-")[0] for task in tasks))
    for kind in kinds:
        rows = [at for at, task in enumerate(tasks) if task.partition("-")[0] == kind]
        for other in range(1, len(names)):
            gain = medians[rows, 0] - medians[rows, other]
            found = as_text(mean(gain), 3)
            record = f"{(gain > 5e-4).sum()} / {(abs(gain) <= 5e-4).sum()} / {(gain < -5e-4).sum()}"
            print(f"{kind}: {names[0]} less {names[other]}: {found}, wins / ties / losses {record}")


def main() -> None:
    """Read the command line, make the runs that the file lacks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contenders", nargs="*", default=list(CONTENDERS))
    both = [f"{kind}-{factor}" for factor in FACTORS for kind in ("tfbind8r", "tfbind8")]
    parser.add_argument("--instances", nargs="+", default=both)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    # Every clock of the library asks this function, the contenders' own, too.
    time.perf_counter = time.process_time
    runs: list[Run] = []
    if given.out.exists():
        lines = given.out.read_text().splitlines()
        runs = [run for run in map(json.loads, lines) if run["seconds"] == given.seconds]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    done = {(run["task"], run["contender"], run["seed"]) for run in runs}
    warm = True
    for seed in range(given.seeds):
        for source in given.instances:
            for task in find_instances(PROBLEM, source, {}):
                for name in given.contenders:
                    if (task.name, name, seed) in done:
                        continue
                    if warm:  # compiles
                        play(task, name, seed, 1.0)
                    runs.append(play(task, name, seed, given.seconds))
                    with given.out.open("a") as file:
                        file.write(json.dumps(runs[-1]) + "\n")
                warm = False
    order = {name: at for at, name in enumerate(given.contenders)}
    runs = [run for run in runs if run["contender"] in order]
    print_tables(sorted(runs, key=lambda run: order[run["contender"]]))


if __name__ == "__main__":
    main()
