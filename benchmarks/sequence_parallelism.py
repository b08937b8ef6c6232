"""What contenders of sequence_parallelism plan in a budget, and how far that is from the optimum.

    python -m sysopt_gym.benchmarks.sequence_parallelism budgets --instances wiki-192k:test
    python -m sysopt_gym.benchmarks.sequence_parallelism paper
    python -m sysopt_gym.benchmarks.sequence_parallelism stream --seconds .01 .1 1 10

`budgets` plays held-out sets. Contenders run in this process, warm, and their clock counts CPU
seconds of this thread: other jobs of the machine change nothing but the caches. Late is what ends
after its budget, by no matter how little. The gap is that of the judged time to the best bound that
any run proved, one of `milp` with 10 s among them. The last column pairs contenders instance by
instance: by how many per cent the contender's time is longer than the first contender's, with its
95 % bootstrap interval.

`paper` plays batches of FlexSP's setting (7B, 64 devices, 512 sequences) and prints by how much a
contender is faster than the one degree of all batches (`ulysses`) and than the best of each batch
(`single_degree`): as they are published, groups filled by best fit to 0.9 of their room; by the
best of several packings; and as they are listed, searched on for a while.

`stream` plays streams of training steps, each planned during the one before it (methods/
sequence_parallelism/stream.py): training waits for the first plan, and for what is late. Seconds
of planning are CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..core.budget import Budget
from ..core.contracts import World
from ..core.registry import load_contender
from ..core.solution import Solution
from ..datasets.sequence_parallelism.generator import ORDERS, generate
from ..datasets.sequence_parallelism.instance import TrainingBatch
from ..envs.sequence_parallelism.problem import PROBLEM
from ..evaluation.statistics import Estimate, mean
from ..methods import highs
from ..methods.sequence_parallelism.grouping import step_time, steps_of
from ..methods.sequence_parallelism.one_degree import plans_of_degree, static_degree
from ..methods.sequence_parallelism.stream import train_on
from .timing import count_cpu_seconds

CONTENDERS = (
    "local_search", "agent", "milp", "greedy", "flexsp", "single_degree", "ulysses", "best_fit",
    "first_fit", "random",
)  # fmt: skip
INSTANCES = (
    "wiki-192k:test",
    "crawl-192k:test",
    "github-192k:test",
    "wiki-384k:test",
    "small:test",
)
SECONDS = (0.01, 0.1, 1.0)
WARM_S = 0.3
TUNED_S = 0.3  # of the baselines, in the paper's setting
PROVE_S = 10.0  # of the bounds
FIRST_SEED = 2_000_000  # of the paper's setting; no set has batches of these seeds
SETTINGS = (("192K", "28"), ("192K", "30"), ("384K", "30"))  # context, GiB of a device


Solve = Callable[[TrainingBatch, Budget, int], Solution]


def planner(contender: str) -> Solve:
    """Return a contender that plans, warm.

    Args:
        contender: its name.
    """
    solve: Solve = load_contender(PROBLEM.family, contender).object
    solve(PROBLEM.warm_up_instance(), Budget(WARM_S), 0)
    return solve


def plan_step(solve: Solve, batch: TrainingBatch, seconds: float) -> np.ndarray:
    """Return the actions of a contender's plan of a batch, int64 [K]."""
    return solve(batch, Budget(seconds), 0).actions


def judged(
    contender: str, batches: Sequence[TrainingBatch], seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let a contender plan batches, and judge the plans.

    Args:
        contender: its name.
        batches: what is planned.
        seconds: for each.

    Returns:
        Objectives in ms, CPU seconds taken, and proven bounds in ms (0 for none): float64
        [batches] each.
    """
    solve = planner(contender)
    found, took, bounds = [], [], []
    for batch in batches:
        began = time.thread_time()
        solution = solve(batch, Budget(seconds), 0)
        took.append(time.thread_time() - began)
        verdict = PROBLEM.validate(batch, solution.actions, World())
        assert verdict.feasible, (contender, batch.name, verdict)
        found.append(verdict.objective)
        bounds.append(0.0 if solution.bound is None else solution.bound)
    return np.array(found), np.array(took), np.array(bounds)


def interval(found: Estimate) -> str:
    """Write a mean with its interval, if it has one."""
    if not found.has_interval:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def budgets(
    contenders: Sequence[str], sets: Sequence[str], seconds: Sequence[float], most: int
) -> None:
    """Print a table of held-out sets for each budget.

    Args:
        contenders: names; the first is what the others are compared with.
        sets: names of sets.
        seconds: the budgets.
        most: batches of each set.
    """
    print(
        "| instances | budget | contender | step time, s | late | gap to bound, mean (most), % "
        f"| longer than {contenders[0]}, % |\n|---|---:|---|---:|---:|---:|---|"
    )
    for name in sets:
        batches = PROBLEM.sets.load(name)[:most]
        proof = judged("milp", batches, PROVE_S)
        plays = {
            (spent, one): judged(one, batches, spent) for spent in seconds for one in contenders
        }
        bound = np.max([proof[2], *(play[2] for play in plays.values())], axis=0)
        plays[PROVE_S, "milp"] = proof
        for (spent, one), (found, took, _) in plays.items():
            gap = 100 * (found / bound - 1)
            base = plays.get((spent, contenders[0]), proof)[0]
            behind = mean(100 * (found / base - 1))
            print(
                f"| {name} ({len(batches)}) | {spent:g} s | `{one}` | {found.mean() / 1e3:.3f} "
                f"| {(took > spent).sum()} | {gap.mean():.2f} ({gap.max():.2f}) "
                f"| {interval(behind)} |",
                flush=True,
            )


def packed(batch: TrainingBatch, *, best: bool, tuned: bool) -> float:
    """Return the ms of one degree by packing alone.

    Args:
        batch: what is planned.
        best: whether the best degree of the batch is taken, not the one of all batches.
        tuned: whether several packings are tried, not only best fit to 0.9 of the groups' room.
    """
    total = 0.0
    for work in steps_of(batch):
        degrees = np.unique(work.degree) if best else [static_degree(batch)]
        total += min(
            step_time(work, plan)
            for degree in degrees
            for plan in plans_of_degree(work, int(degree), tuned=tuned)
            if plan is not None
        )
    return total


def paper(contenders: Sequence[str], seconds: Sequence[float], most: int) -> None:
    """Print the speed-ups over one degree in the paper's setting.

    Args:
        contenders: names.
        seconds: the budgets.
        most: batches of each setting.
    """
    print(
        "| context, memory | budget | contender | step time, s | static, .9 | best, .9 "
        "| static, packed | best, packed | static, searched | best, searched |\n"
        "|---|---:|---|---:|---|---|---|---|---|---|"
    )
    for context, memory in SETTINGS:
        given = {"model": "7B", "devices": "64", "context": context, "memory": memory}
        batches = [generate(given, FIRST_SEED + row) for row in range(most)]
        rules = [(best, tuned) for tuned in (False, True) for best in (False, True)]
        bases = [
            np.array([packed(one, best=best, tuned=tuned) for one in batches])
            for best, tuned in rules
        ]
        bases += [judged(one, batches, TUNED_S)[0] for one in ("ulysses", "single_degree")]
        for spent in seconds:
            for one in contenders:
                found = judged(one, batches, spent)[0]
                ups = [mean(base / found) for base in bases]
                cells = " | ".join([f"{found.mean() / 1e3:.3f}", *map(interval, ups)])
                print(f"| {context}, {memory} GiB | {spent:g} s | `{one}` | {cells} |", flush=True)


def stream(contenders: Sequence[str], seconds: Sequence[float]) -> None:
    """Print what training on streams takes, waiting included.

    Args:
        contenders: names; the first is what the others are compared with.
        seconds: the most for planning a step.
    """
    print(
        "| planning | contender | mixed, s a step | shards | drift | waiting, % | late plans "
        f"| longer than {contenders[0]}, % |\n|---:|---|---:|---:|---:|---:|---:|---|"
    )
    streams = PROBLEM.sets.load("stream:test")
    orders = [ORDERS[row * len(ORDERS) // len(streams)] for row in range(len(streams))]
    for spent in seconds:
        base: np.ndarray | None = None
        for one in contenders:
            plan = partial(plan_step, planner(one))
            runs = [train_on(batch, spent, plan, time.thread_time) for batch in streams]
            totals = np.array([run.total_ms for run in runs])
            base = totals if base is None else base
            each = [
                np.mean([t for t, o in zip(totals, orders, strict=True) if o == order]) / 1e3
                / streams[0].n_steps
                for order in ORDERS
            ]  # fmt: skip
            waited = sum(run.waiting_ms.sum() for run in runs) / totals.sum()
            late = sum(int((run.waiting_ms[1:] > 0).sum()) for run in runs)
            cells = " | ".join(f"{part:.3f}" for part in each)
            behind = interval(mean(100 * (totals / base - 1)))
            print(
                f"| {spent:g} s | `{one}` | {cells} | {100 * waited:.2f} | {late} | {behind} |",
                flush=True,
            )


def main() -> None:
    """Read the command line and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=("budgets", "paper", "stream"))
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--instances", nargs="+", default=list(INSTANCES))
    parser.add_argument("--seconds", nargs="+", type=float, default=list(SECONDS))
    parser.add_argument("--most", type=int, default=12, help="batches of a set; all streams play")
    given = parser.parse_args()
    count_cpu_seconds()
    # HiGHS's own limit is in wall-clock seconds; its callbacks stop it by the CPU seconds.
    highs.solve = partial(highs.solve, reserve=-1e4)
    if given.table == "budgets":
        budgets(given.contenders, given.instances, given.seconds, given.most)
    elif given.table == "stream":
        stream(given.contenders, given.seconds)
    else:
        paper(given.contenders, given.seconds, given.most)


if __name__ == "__main__":
    main()
