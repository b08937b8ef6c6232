"""How many environment steps PPO needs by each curriculum, against instances drawn alike.

    python -m sysopt_gym.benchmarks.curriculum --out results/curriculum

A small policy of vm_rescheduling is trained from nothing on 48 generated clusters, eight each of
six kinds, and scored every few iterations on 48 others of the same kinds, which nothing is chosen
by: the score is the mean fragment rate of sampled plans, less is better. All runs have the same
settings but for the curriculum, whose options are the defaults; runs of one seed start from the
same weights. The target is what `uniform` reaches, on average over seeds, after three quarters of
its steps. A run that was killed goes on when the command is given again, and one that is done is
not repeated; `--table` only prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from ..agents import history
from ..agents.curriculum import CURRICULA, UNIFORM
from ..agents.run_folder import CONFIG
from ..agents.training import train
from ..core.instance import save_archive
from ..core.registry import load_problem

FAMILY, FIGURE = "vm_rescheduling", "sample"
KINDS = [{"pms": pms, "exits": exits} for pms in ("8", "12", "16") for exits in ("0.035", "0.15")]
EACH, MOVES = 8, "10"  # clusters of a kind; moves of a plan
FIRST_SEED, HELD_OUT = 7_000_000, 500  # of the generator; what is added for the held-out ones
EVERY = 2  # iterations between two scores
SHARE = 0.75  # of uniform's steps, at which the target stands
SETTINGS = {
    "width": "16",
    "imitation.epochs": "0",
    "ppo.self_play": "environment",  # which serves all of the curricula
    "ppo.checkpoint_every": str(EVERY),
    "ppo.algorithm.training.train_batch_size_per_learner": "512",
    "ppo.algorithm.training.minibatch_size": "128",
    "ppo.algorithm.training.lr": "0.001",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """The scores of a run.

    Attributes:
        steps: float64 [V]; environment steps at each validation, the start's 0 included.
        scores: float64 [V]; less is better.
    """

    steps: np.ndarray
    scores: np.ndarray

    def steps_to(self, target: float) -> float:
        """Return the steps after which the score first was a target, between two validations by a
        straight line; all steps if it never was.

        Args:
            target: the score.
        """
        there = np.flatnonzero(self.scores <= target)
        if not len(there):
            return float(self.steps[-1])
        after = int(there[0])
        if after == 0:
            return float(self.steps[0])
        pair = slice(after - 1, after + 1)
        return float(np.interp(-target, -self.scores[pair], self.steps[pair]))

    def score_at(self, steps: float) -> float:
        """Return the score after some steps, by straight lines.

        Args:
            steps: environment steps.
        """
        return float(np.interp(steps, self.steps, self.scores))


def write_instances(folder: Path) -> tuple[list[Path], Path]:
    """Write the clusters, once.

    Args:
        folder: where to.

    Returns:
        An archive of each kind to train on, and the one of all held-out clusters.
    """
    problem, held, trained = load_problem(FAMILY), [], []
    for number, kind in enumerate(KINDS):
        first = FIRST_SEED + 1000 * number
        for shift in (0, HELD_OUT):
            made = [
                problem.apply_settings(problem.generate(kind, first + shift + i), {"mnl": MOVES})
                for i in range(EACH)
            ]
            if shift:
                held += made
                continue
            trained.append(folder / f"train-{number}.zip")
            if not trained[-1].exists():
                save_archive(made, trained[-1])
    if not (folder / "held-out.zip").exists():
        save_archive(held, folder / "held-out.zip")
    return trained, folder / "held-out.zip"


def run(
    method: str, seed: int, iterations: int, out: Path, instances: Sequence[Path], held: Path
) -> None:
    """Train one run to its end, from where it is.

    Args:
        method: name of the curriculum.
        seed: of the run.
        iterations: of PPO.
        out: the run's folder.
        instances: archives to train on.
        held: the archive to score on.
    """
    if _done(out) >= iterations:
        return
    overrides = SETTINGS | {
        "seed": str(seed),
        "out": str(out),
        "validation": f"[{held}]",
        "ppo.instances": f"[{', '.join(map(str, instances))}]",
        "ppo.iterations": str(iterations),
        "ppo.curriculum": method,
    }
    train("vm_rescheduling_ppo", overrides, resume=(out / CONFIG).exists())


def _done(out: Path) -> int:
    """Return the iterations of PPO that a run has been validated after."""
    return max((one.done for one in history.load(out) if one.validation), default=0)


def read_curve(out: Path) -> Curve:
    """Read the scores of a run.

    Args:
        out: its folder.
    """
    points = [one for one in history.load(out) if one.validation]
    scores = [next(iter(one.validation.values()))[FIGURE] for one in points]
    return Curve(np.array([one.env_steps for one in points], float), np.array(scores))


def table(curves: Mapping[str, Sequence[Curve]]) -> Iterator[str]:
    """Make the table, line by line.

    Args:
        curves: curriculum -> its runs, in the order of seeds; UNIFORM is among them.
    """
    base = curves[UNIFORM]
    target = float(np.mean([one.score_at(SHARE * one.steps[-1]) for one in base]))
    yield f"target {target:.4f}, {len(base)} seeds, {base[0].steps[-1]:,.0f} steps a run"
    yield (
        "| curriculum | reached | steps to target | of uniform's steps | score at the end | "
        "less uniform's |"
    )
    yield "|---|---:|---:|---:|---:|---:|"
    for name, runs in curves.items():
        needed = np.array([one.steps_to(target) for one in runs])
        ratios = np.log(needed / [one.steps_to(target) for one in base])
        ends = np.array([one.scores[-1] for one in runs])
        less = ends - [one.scores[-1] for one in base]
        reached = sum(bool((one.scores <= target).any()) for one in runs)
        paired = "", ""
        if name != UNIFORM:
            low, high = np.exp(_interval(ratios))
            paired = (
                f"{np.exp(ratios.mean()):.2f} ({low:.2f} to {high:.2f})",
                f"{less.mean():+.4f} +- {_half(less):.4f}",
            )
        yield (
            f"| `{name}` | {reached} of {len(runs)} | {needed.mean():,.0f} +- {_half(needed):,.0f} "
            f"| {paired[0]} | {ends.mean():.4f} +- {_half(ends):.4f} | {paired[1]} |"
        )


def _half(figures: np.ndarray) -> float:
    """Return half of the 95 % interval of a mean, by Student's t."""
    if len(figures) < 2:
        return float("nan")
    spread = figures.std(ddof=1) / np.sqrt(len(figures))
    return float(stats.t.ppf(0.975, len(figures) - 1) * spread)


def _interval(figures: np.ndarray) -> np.ndarray:
    ends: np.ndarray = figures.mean() + _half(figures) * np.array([-1.0, 1.0])
    return ends


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--methods", nargs="+", default=list(CURRICULA))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("results/curriculum"))
    parser.add_argument("--table", action="store_true", help="print, and train nothing")
    given = parser.parse_args()
    methods = list(dict.fromkeys([UNIFORM, *given.methods]))
    folder = given.out.absolute()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    if not given.table:
        instances, held = write_instances(folder / "instances")
        for seed in seeds:  # seed by seed, so that a table of fewer seeds comes early
            for method in methods:
                place = folder / method / f"seed-{seed}"
                run(method, seed, given.iterations, place, instances, held)
    curves = {}
    for method in methods:
        runs = [folder / method / f"seed-{seed}" for seed in seeds]
        curves[method] = [read_curve(one) for one in runs if _done(one) >= given.iterations]
    whole = min(map(len, curves.values()))
    if not whole:
        print("no seed is done by all curricula yet")
        return
    for line in table({name: runs[:whole] for name, runs in curves.items()}):
        print(line)


if __name__ == "__main__":
    main()
