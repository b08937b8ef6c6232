"""Compare what PPO learns by: Adam and LAMB, with weight norms that are free or held.

    python -m sysopt_gym.benchmarks.optimizers --out results/optimizers
    python -m sysopt_gym.benchmarks.optimizers --out results/optimizers --family memory_mapping

A family's policy learns by PPO from random weights, in large batches: half of the iterations on
instances of one set, and then on those of another. Each way of learning takes the rate that is best
on the validation instances of both sets, with a seed of its own (CHOICE_SEED): rates are tried from
RATES on, three times as high or as low, until the best has worse ones on both sides or MOST_RATES
are tried. It is then trained with that rate from each of the seeds. What is compared are the scores
on test instances, which nothing was trained or chosen on: of the first set after the first half, of
both after the second. Intervals are a bootstrap over seeds and instances alike, paired with Adam. A
run that is done is not repeated, so the command goes on where it stopped; `--table` only prints.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer

from ..agents.algorithms import build_algorithm, trained_policy
from ..agents.configuration import load_config
from ..agents.continuation import seed_generators
from ..agents.curriculum.base import Curriculum, Outcome, TrainingSet
from ..agents.curriculum.rllib import Course
from ..agents.optimizers import ADAM, LAMB
from ..core.files import write_bytes
from ..core.registry import load_problem
from ..core.sources import find_instances

STAGE, CHOICE_SEED, DRAWS = "ppo", 100, 10_000


class Trial(NamedTuple):
    """How a family's policy is trained and scored.

    Attributes:
        first: instance set of the first half, without its split.
        second: that of the second half.
        figure: the figure of Recipe.score that counts; less is better.
        iterations: of both halves.
        batch: steps of an iteration.
        minibatch: steps of an update.
        epochs: passes over a batch.
    """

    first: str
    second: str
    figure: str
    iterations: int
    batch: int
    minibatch: int
    epochs: int


TRIALS = {
    "memory_mapping": Trial("small", "models", "sample", 12, 8192, 2048, 3),
    "vm_rescheduling": Trial("small", "lookalike", "sample", 8, 2048, 1024, 3),
    "sequence_parallelism": Trial("small", "wiki-192k", "sample", 8, 4096, 1024, 3),
}
# Way of learning -> optimizer, and whether norms are held.
WAYS = {
    "adam": (ADAM, False), "lamb": (LAMB, False),
    "adam, projected": (ADAM, True), "lamb, projected": (LAMB, True),
}  # fmt: skip
RATES, MOST_RATES = {ADAM: (1e-3, 3e-3), LAMB: (5e-3, 1.5e-2)}, 5
CHECKS = 4  # scores on validation instances, at equal distances


class Shift(Curriculum):
    """Plays the first instance set for half of the iterations, then the second."""

    def begin(self) -> None:
        """Make no state."""

    def weights(self) -> np.ndarray:
        """Return equal weights over the set whose turn it is, float64 [n]."""
        late = self.iteration >= self.training.iterations // 2
        turn: np.ndarray = self.training.sets == int(late)
        shares: np.ndarray = turn / turn.sum()
        return shares

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Learn nothing.

        Args:
            outcomes: not read.
        """


def train(family: str, way: str, rate: float, seed: int) -> dict[str, Any]:
    """Train a policy and score it.

    Args:
        family: a key of TRIALS.
        way: a key of WAYS.
        rate: learning rate.
        seed: of first weights, play and learning.

    Returns:
        "curve": means on validation instances of both sets after each part of the run, from the
        untrained network on, [CHECKS + 1][2]; "test": scores of test instances of both sets after
        either half, [2 halves][2 sets][instances], none with CHOICE_SEED; "seconds": CPU seconds
        of training.
    """
    trial, config = TRIALS[family], load_config(f"{family}_{STAGE}", {})
    problem, recipe, section = load_problem(family), config.load_recipe(), config.reinforcement
    names, chooses = (trial.first, trial.second), seed == CHOICE_SEED

    def loaded(split: str) -> list[list[Any]]:
        found = [find_instances(problem, f"{name}:{split}", {}) for name in names]
        return [list(map(problem.contender_view, some)) for some in found]

    taught, chosen_on, tested = map(loaded, ("train", "val", "test"))
    seed_generators(seed)
    network: Any = recipe.network(config.width)
    described = {
        "family": family, "recipe": config.recipe, "width": config.width,
        "weights": network.state_dict(),
    }  # fmt: skip
    settings = {part: dict(values) for part, values in section[STAGE].algorithm.items()}
    settings["training"] |= {
        "lr": rate, "train_batch_size_per_learner": trial.batch,
        "minibatch_size": trial.minibatch, "num_epochs": trial.epochs,
    }  # fmt: skip
    instances = [one for some in taught for one in some]
    sets = np.repeat([0, 1], [len(some) for some in taught])
    training = TrainingSet(instances, sets, trial.iterations, seed)
    signs = [problem.objective(one).sign for one in instances]
    course = Course(Shift(training), signs)
    algorithm = build_algorithm(
        STAGE, problem, {"instances": instances} | section[STAGE].environment, described, seed,
        settings, at_end=course.callbacks, optimizer=WAYS[way][0], project=WAYS[way][1],
    )  # fmt: skip
    course.attach(algorithm, STAGE)

    def scores(some: Sequence[Any]) -> list[float]:
        return [recipe.score(network, [one])[trial.figure] for one in some]

    curve = [[float(np.mean(scores(some))) for some in chosen_on]]
    test, seconds = [], 0.0
    try:
        for number in range(1, trial.iterations + 1):
            begun = time.process_time()
            course.hand_out(algorithm)
            algorithm.train()
            course.take_in(algorithm)
            seconds += time.process_time() - begun
            if number * CHECKS % trial.iterations == 0:
                network.load_state_dict(trained_policy(STAGE, algorithm).state_dict())
                curve.append([float(np.mean(scores(some))) for some in chosen_on])
            if number * 2 % trial.iterations == 0 and not chooses:
                test.append([scores(some) for some in tested])
    finally:
        algorithm.stop()
    return {"curve": curve, "test": test, "seconds": seconds}


def kept(out: Path, family: str, way: str, rate: float, seed: int, only: bool) -> Any:
    """Return what `train` returns, from its file where there is one.

    Args:
        out: folder of the files.
        family: see `train`.
        way: see `train`.
        rate: see `train`.
        seed: see `train`.
        only: whether a missing run is None instead of trained.
    """
    file = out / family / f"{way.replace(', ', '-')}_{rate:g}_{seed}.json"
    if not file.exists():
        if only:
            return None
        found = train(family, way, rate, seed)
        write_bytes(file, json.dumps(found).encode())
        ends = [[round(one, 4) for one in both] for both in found["curve"]]
        print(
            f"{family}, {way}, {rate:g}, seed {seed}: {ends} {found['seconds']:.0f} s", flush=True
        )
    return json.loads(file.read_text())


def figure_of_choice(curve: Sequence[Sequence[float]]) -> float:
    """Return what rates are chosen by, less is better: the validation score of the first set after
    the first half and that of the second after both, each as a share of the untrained network's.

    Args:
        curve: see `train`.
    """
    return (curve[CHECKS // 2][0] / curve[0][0] + curve[-1][1] / curve[0][1]) / 2


def to_try(first: Sequence[float], found: Mapping[float, float]) -> Iterator[float]:
    """Yield the rates to try.

    Args:
        first: those to begin with.
        found: rate -> what it is chosen by, less is better, of those tried; it fills meanwhile.
    """
    yield from first
    for _ in range(MOST_RATES - len(first)):
        best = min(found, key=found.__getitem__, default=None)
        if best is None or min(found) < best < max(found):
            return
        yield float(f"{best / 3 if best == min(found) else best * 3:.2g}")


def lead(own: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Return by how many per cent scores are above others, with the ends of a 95 % interval: a
    bootstrap over seeds and instances alike.

    Args:
        own: float64 [seeds, instances].
        other: the same of what it is paired with.
    """
    rng = np.random.default_rng(0)
    seeds, instances = own.shape
    gaps, means = 100 * (own - other) / other.mean(), np.empty(DRAWS)
    for draw in range(DRAWS):
        drawn = np.ix_(rng.integers(seeds, size=seeds), rng.integers(instances, size=instances))
        means[draw] = gaps[drawn].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(gaps.mean()), float(low), float(high)


def lines(runs: Mapping[str, list[Any]], rates: Mapping[str, float], family: str) -> list[str]:
    """Return a family's rows of the table.

    Args:
        runs: way of learning -> its runs, a seed each.
        rates: way of learning -> its rate.
        family: name of the family.
    """
    trial = TRIALS[family]
    places = (
        (f"{trial.first}, first half", 0, 0), (f"{trial.second}, second half", 1, 1),
        (f"{trial.first}, second half", 1, 0),
    )  # fmt: skip
    rows = []
    for way, own in runs.items():
        cells = [family, way, f"{rates[way]:g}"]
        for _, half, which in places:
            mine, adams = (np.array([run["test"][half][which] for run in some])
                           for some in (own, runs[ADAM]))  # fmt: skip
            cells.append(f"{mine.mean():.4f}")
            if way != ADAM:
                cells[-1] += " ({:+.1f} % [{:+.1f}, {:+.1f}])".format(*lead(mine, adams))
        cells.append(f"{np.mean([run['seconds'] for run in own]):.0f} s")
        rows.append(f"| {' | '.join(cells)} |")
    heads = ["family", "learns by", "rate", *(name for name, _, _ in places), "CPU seconds"]
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]


def main(
    out: Annotated[Path, typer.Option(help="folder for results; continues where it stopped")],
    family: Annotated[list[str] | None, typer.Option(help="of TRIALS; all, if none")] = None,
    seeds: Annotated[int, typer.Option(help="final runs of each way of learning")] = 3,
    table: Annotated[bool, typer.Option(help="print, and train nothing")] = False,
) -> None:
    """Choose rates, train, and print a table for each family."""
    torch.set_num_threads(1)
    for name in family or TRIALS:
        rates: dict[str, float] = {}
        runs: dict[str, list[Any]] = {}
        for way, (optimizer, _) in WAYS.items():
            found: dict[float, float] = {}
            for rate in to_try(RATES[optimizer], found):
                if run := kept(out, name, way, rate, CHOICE_SEED, table):
                    found[rate] = figure_of_choice(run["curve"])
                    rates[way] = min(found, key=found.__getitem__)
            print(f"{name}, {way}: {found}", flush=True)
        for seed in range(seeds):  # seed by seed, so that a table of fewer seeds comes early
            for way, rate in rates.items():
                run = kept(out, name, way, rate, seed, table)
                runs.setdefault(way, []).extend([run] if run else [])
        whole = min(map(len, runs.values()), default=0)
        if whole:
            print(*lines({way: some[:whole] for way, some in runs.items()}, rates, name), sep="\n")
    print(shlex.join(["python", "-m", "sysopt_gym.benchmarks.optimizers", *sys.argv[1:]]))


if __name__ == "__main__":
    typer.run(main)
