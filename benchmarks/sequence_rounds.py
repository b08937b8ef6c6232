"""Contenders of sequence design in rounds, on tasks that nothing was trained or chosen on.

    python -m sysopt_gym.benchmarks.sequence_rounds --out results/rounds.jsonl

Every contender makes R batches, and is told the scores of each before it makes the next one. Clocks
count CPU seconds of this process, in which all runs are made one after the other, so that other
jobs of the machine change little. Runs in the file are not made again; the tables, in Markdown, are
of all runs in it. Average ranks, means and differences have 95 % bootstrap intervals over tasks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from ..core.budget import Budget
from ..core.contracts import World
from ..core.play import Task, play_policy, warm_up
from ..core.registry import load_contender
from ..core.sources import find_instances
from ..datasets.sequence_design.instance import DesignTask
from ..envs.sequence_design.problem import PROBLEM
from ..evaluation.judge import is_late
from ..evaluation.statistics import Estimate, mean

CONTENDERS = (
    "agent_rounds", "ppo_rounds", "ga_weighted_rounds", "ga_rounds", "adalead_rounds",
    "cma_es_rounds", "ucb_rounds", "ei_rounds", "random_rounds",
)  # fmt: skip
# Not SIX6, ARX and RNA-A: settings were chosen on them.
TASKS = (
    "tfbind8r-CRX", "tfbind8r-FOXC1", "tfbind8r-HOXD13", "tfbind8r-PAX6", "tfbind8r-POU3F4",
    "tfbind8r-VSX1", "gb1", "rna-b", "rna-c", "ehrlich:small/0", "ehrlich:small/1",
    "ehrlich:medium/0", "ehrlich:medium/1", "ehrlich:large/0",
)  # fmt: skip
DIGITS = 6  # of scores that are ranked

Run = dict[str, Any]  # task, contender, seed, seconds, median, max, late, uniques


class _Timed:
    """A policy, and the seconds that it has taken.

    Args:
        policy: see core.contracts.Policy.
    """

    def __init__(self, policy: Any) -> None:
        self._policy, self.seconds = policy, 0.0

    def reset(self, instance: Any, budget: Budget, seed: int) -> None:
        self.seconds = 0.0
        began = time.perf_counter()
        self._policy.reset(instance, budget, seed)
        self.seconds += time.perf_counter() - began

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        began = time.perf_counter()
        action = self._policy.act(observation, info)
        self.seconds += time.perf_counter() - began
        return action


def play(task: DesignTask, name: str, seed: int, seconds: float) -> Run:
    """Let a contender play a task; what is late counts as the null plan, as in `compare`.

    Args:
        task: of several rounds.
        name: of a player.
        seed: of the contender.
        seconds: budget of all rounds together.
    """
    policy = _Timed(load_contender(PROBLEM.family, name).object())
    budget = Budget(seconds)
    solution = play_policy(PROBLEM, policy, Task(task, budget, seed, 0), lambda: policy.seconds)
    late = is_late(policy.seconds, seconds)
    plan = PROBLEM.null_plan(task) if late else np.asarray(solution.actions)
    verdict = PROBLEM.validate(task, plan, World())
    if not verdict.feasible or verdict.detail is None:
        raise RuntimeError(f"{name} on {task.name}: {verdict.violations}")
    by_round = [verdict.detail[f"median@round{r}"] for r in range(1, task.rounds + 1)]
    return {
        "task": task.name, "contender": name, "seed": seed, "seconds": seconds,
        "rounds": task.rounds, "batch": task.batch_size, "median": verdict.objective,
        "max": verdict.detail["max"], "uniques": verdict.detail["uniques"], "late": late,
        "taken": policy.seconds, "by_round": by_round,
    }  # fmt: skip


def scores_of(runs: Sequence[Run], value: str) -> tuple[list[str], list[str], np.ndarray]:
    """Arrange runs, averaged over seeds, by task and contender; only tasks that all have played.

    Args:
        runs: all runs.
        value: "median" or "max".

    Returns:
        Names of n tasks, names of k contenders, and the scores, float64 [n, k].
    """
    names = list(dict.fromkeys(run["contender"] for run in runs))
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        found.setdefault(run["task"], {}).setdefault(run["contender"], []).append(run[value])
    tasks = [task for task, of in found.items() if len(of) == len(names)]
    scores = np.array([[np.mean(found[task][name]) for name in names] for task in tasks])
    return tasks, names, scores.reshape(len(tasks), len(names))


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """Return the ranks of contenders on each task, 1 the best, ties having their mean rank.

    Args:
        scores: float64 [n, k], more is better.
    """
    ranks: np.ndarray = scipy.stats.rankdata(-np.round(scores, DIGITS), axis=1)
    return ranks


def print_tables(runs: Sequence[Run]) -> None:
    """Print each task's medians, then ranks, means and differences from the first contender."""
    tasks, names, medians = scores_of(runs, "median")
    _, _, best = scores_of(runs, "max")
    if len(tasks) < 2:
        print("fewer than two tasks have runs of all contenders: no table yet")
        return
    print("| task | " + " | ".join(f"`{name}`" for name in names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for task, median, top in zip(tasks, medians, best, strict=True):
        cells = (f"{m:.3f} / {b:.3f}" for m, b in zip(median, top, strict=True))
        print(f"| {task} | " + " | ".join(cells) + " |")
    print("\n| contender | rank by median | rank by best | mean median | first less it |")
    print("|---|---|---|---|---|")
    by_median, by_best = ranks_of(medians), ranks_of(best)
    for at in np.argsort(by_median.mean(axis=0), kind="stable"):
        ranks = as_text(mean(by_median[:, at]), 2), as_text(mean(by_best[:, at]), 2)
        ahead = as_text(mean(medians[:, 0] - medians[:, at]), 3) if at else "–"
        print(
            f"| `{names[at]}` | {ranks[0]} | {ranks[1]} | {medians[:, at].mean():.3f} | {ahead} |"
        )
    print(f"\n{len(tasks)} tasks, late runs: {sum(run['late'] for run in runs)}")


def as_text(found: Estimate, digits: int) -> str:
    """Return an estimate with its interval, if it has one."""
    if not found.has_interval:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def main() -> None:
    """Read the command line, make the runs that the file lacks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--instances", nargs="+", default=list(TASKS))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    # Every clock of the library asks this function, the contenders' own, too.
    time.perf_counter = time.process_time
    settings = {"rounds": str(given.rounds), "batch": str(given.batch)}
    terms = {"rounds": given.rounds, "batch": given.batch, "seconds": given.seconds}
    runs: list[Run] = []
    if given.out.exists():
        lines = given.out.read_text().splitlines()
        runs = [run for run in map(json.loads, lines) if terms.items() <= run.items()]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    done = {(run["task"], run["contender"], run["seed"]) for run in runs}
    for name in given.contenders:
        warm_up(load_contender(PROBLEM.family, name), PROBLEM, given.seconds)
    for seed in range(given.seeds):
        for source in given.instances:
            for task in find_instances(PROBLEM, source, settings):
                for name in given.contenders:
                    if (task.name, name, seed) in done:
                        continue
                    runs.append(play(task, name, seed, given.seconds))
                    with given.out.open("a") as file:
                        file.write(json.dumps(runs[-1]) + "\n")
    order = {name: at for at, name in enumerate(given.contenders)}
    runs = [run for run in runs if run["contender"] in order]
    print_tables(sorted(runs, key=lambda run: order[run["contender"]]))


if __name__ == "__main__":
    main()
