"""Play controllers on a grid of initial rates, many federations at once.

    python -m sysopt_gym.benchmarks.federated_grid mnist10k-grid --seeds 5 --out results/mnist-grid

`sysopt-gym compare` plays cell by cell, with a judge for each; this plays cells side by side in one
computation, several times faster: for tables of all controllers on slow models. Test accuracy is
measured after each round; no controller sees it. Worlds are the same for every cell and controller,
so that differences are paired. The best constant rates in hindsight are found once per world: the
best of FedAvg on the grid itself and on a wider one (WIDER), by test accuracy; the best of all
constants adds the candidates of methods/federated_lr/constants.py, with and without decay.
Controllers that ignore the initial rates are played on one cell for all.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..core.budget import Budget
from ..core.contender_arguments import name_contender
from ..core.errors import OutputError
from ..core.registry import contender_names, load_contender
from ..datasets.federated_lr.instance import Federation, seal, terms_of
from ..datasets.federated_lr.splits import SETS
from ..envs.federated_lr.objective import first_at
from ..envs.federated_lr.observation import Observer
from ..envs.federated_lr.training import Training
from ..evaluation.headline import number
from ..evaluation.statistics import mean
from ..methods.federated_lr.constants import BEST, candidates, train

FAMILY, BASELINE, ORACLE = "federated_lr", "fedavg", "best_constant"
FIRST_WORLD = 1000
LANES = 25
BAD = 0.05  # a cell's rates are bad if FedAvg is this much less accurate than the best constant
WIDER = [(alpha, beta) for beta in (0.3, 1.0, 3.0) for alpha in (0.5, 1.0, 2.0)]


def play(name: str, jobs: Sequence[tuple[Federation, int]]) -> np.ndarray:
    """Play a controller by its name; see `play_policies`."""
    return play_policies(load_contender(FAMILY, name).object, jobs)


def play_policies(make: Callable[[], Any], jobs: Sequence[tuple[Federation, int]]) -> np.ndarray:
    """Play controllers on federations that are alike but for their initial rates.

    Args:
        make: makes a controller.
        jobs: federation and seed of its world, one lane each.

    Returns:
        Test accuracies, float64 [jobs, T rounds], or of a sealed federation those of the validation
        rows; 0 after divergence.
    """
    first = jobs[0][0]
    lanes = Training([seal(federation) for federation, _ in jobs])
    everyone = np.arange(len(jobs))
    policies = []
    for lane, (federation, world) in enumerate(jobs):
        lanes.begin(lane, lanes.federations[lane], world)
        policy = make()
        policy.reset(terms_of(federation), Budget(1e6), world)
        policies.append(policy)
    s, observer = lanes.statistics, Observer(len(jobs))
    observer.begin(s, everyone)
    found = np.zeros((len(jobs), first.rounds))
    going = everyone
    for step in range(first.rounds + 1):
        infos: list[Any] = [
            s.row(int(lane)) | {"objective": 0.0, "feasible": False} for lane in going
        ]
        orders = [
            policies[lane].act({"rounds": observer.rounds[lane].copy()}, info)
            for lane, info in zip(going, infos, strict=True)
        ]
        lanes.step(np.array(orders), going)
        observer.look(s, going)
        going = going[~s.diverged[going]]
        if not len(going):
            break
        if step:
            seen = s.validation_accuracy[going] if first.sealed else lanes.accuracies(first, going)
            found[going, step - 1] = seen
    return found


def played(name: str, grid: Sequence[Federation], seeds: int, out: Path) -> np.ndarray:
    """Return a controller's accuracies; they are stored in a file and read from it next time.

    Args:
        name: name of the controller.
        grid: one federation per cell.
        seeds: worlds per cell.
        out: folder of the files.

    Returns:
        Test accuracies, float64 [cells, seeds, T rounds].

    Raises:
        OutputError: the file is of another grid or number of worlds.
    """
    if name in (*BEST, "agent") and len(grid) > 1:
        return np.repeat(played(name, grid[:1], seeds, out), len(grid), axis=0)
    file = out / f"{name}.npy"
    shape = len(grid), seeds, grid[0].rounds
    if file.exists():
        found: np.ndarray = np.load(file)
        if found.shape != shape:
            raise OutputError(f"{file}: holds {found.shape}, not {shape}; choose another --out")
        return found
    jobs = [(cell, FIRST_WORLD + seed) for cell in grid for seed in range(seeds)]
    parts = [jobs[at : at + LANES] for at in range(0, len(jobs), LANES)]
    found = np.concatenate([play(name, part) for part in track(parts, name)]).reshape(shape)
    np.save(file, found)
    return found


def best_constant(grid: Sequence[Federation], seeds: int, out: Path) -> np.ndarray:
    """Return the final accuracy of the best constant rates in each world, float64 [seeds].

    Args:
        grid: one federation per cell.
        seeds: worlds per cell.
        out: folder of the accuracies.
    """
    wider = [dataclasses.replace(grid[0], alpha=alpha, beta=beta) for alpha, beta in WIDER]
    (out / "wider").mkdir(exist_ok=True)
    final = [played(BASELINE, cells, seeds, folder)[..., -1] for cells, folder in (
        (grid, out), (wider, out / "wider")
    )]  # fmt: skip
    best: np.ndarray = np.concatenate(final).max(axis=0)
    return best


def best_of_all(grid: Sequence[Federation], seeds: int, out: Path) -> np.ndarray:
    """Return the final accuracy of the best of all candidates in each world, float64 [seeds].

    Args:
        grid: one federation per cell; the first is trained.
        seeds: worlds.
        out: folder of the accuracies.
    """
    plans = [one.plan(grid[0].rounds) for one in candidates()]
    best = np.empty(seeds)
    for seed in track(range(seeds), "best_of_all_constants"):
        file = out / f"best_of_all_constants-{seed}.npy"
        if not file.exists():
            np.save(file, train(grid[0], plans, FIRST_WORLD + seed).accuracies[:, -1])
        best[seed] = np.load(file).max()
    return best


def table_of(
    found: dict[str, np.ndarray], best: np.ndarray, of_all: np.ndarray | None, against: str
) -> Table:
    """Make the table: one row per controller, the best first.

    Args:
        found: controller -> test accuracies, float64 [cells, seeds, T rounds].
        best: float64 [seeds], final accuracies of the best constant rates.
        of_all: the same of the best of all candidates; None to leave them out.
        against: the controller that the others are compared with.
    """
    table = Table(box=None, pad_edge=False)
    for column in (
        "controller", "final accuracy", f"{against} is better by", "worst cell against FedAvg",
        "of the way to the best constant, bad cells", "rounds to FedAvg's end, times fewer",
    ):  # fmt: skip
        table.add_column(column, overflow="fold")
    fedavg = found[BASELINE]
    bad = best.mean() - fedavg[..., -1].mean(axis=1) > BAD
    if of_all is not None:
        table.add_row("best_of_all_constants", number(float(of_all.mean())), "", "", "", "")
    table.add_row(ORACLE, number(float(best.mean())), "", "", "100 %", "")
    for name, runs in sorted(found.items(), key=lambda item: -item[1][..., -1].mean()):
        final = runs[..., -1]
        leads = found[against][..., -1] - final
        lead = mean(leads[0] if (leads == leads[0]).all() else leads.ravel())  # no pair twice
        gain = (final - fedavg[..., -1]).mean(axis=1)
        way = gain[bad].sum() / (best.mean() - fedavg[bad, :, -1].mean(axis=1)).sum()
        table.add_row(
            name,
            f"{final.mean():.4f}",
            f"{100 * lead.value:.1f} [{100 * (lead.low or 0):.1f}, {100 * (lead.high or 0):.1f}]",
            f"{100 * gain.min():+.1f}",
            f"{way:.0%}",
            f"{np.median(_times_fewer(runs, fedavg)):.2f}",
        )
    return table


def _times_fewer(runs: np.ndarray, fedavg: np.ndarray) -> np.ndarray:
    """Return FedAvg's rounds over the rounds in which each run reaches FedAvg's final accuracy."""
    rounds = runs.shape[-1]
    pairs = zip(runs.reshape(-1, rounds), fedavg.reshape(-1, rounds), strict=True)
    return np.array([rounds / first_at(own, other[-1]) for own, other in pairs])


def main(
    grid: Annotated[str, typer.Argument(help="a set of one federation at many initial rates")],
    out: Annotated[Path, typer.Option(help="folder for accuracies; continues where it stopped")],
    contenders: Annotated[list[str] | None, typer.Option(help="controllers (default: all)")] = None,
    seeds: Annotated[int, typer.Option(help="worlds per cell")] = 5,
    against: Annotated[str, typer.Option(help="compare the others with this one")] = "agent",
    oracle: Annotated[
        bool, typer.Option(help="add the best of all candidates; takes long")
    ] = False,
) -> None:
    """Play controllers on every cell of a grid and print the table, accuracies in points."""
    torch.set_num_threads(1)
    everyone = contender_names(FAMILY, form="player")
    names = [name_contender(FAMILY, name) for name in contenders or everyone]
    names = list(dict.fromkeys([BASELINE, against, *names]))
    cells = SETS.load(grid)
    out.mkdir(parents=True, exist_ok=True)
    found = {name: played(name, cells, seeds, out) for name in names}
    console = Console(width=140)
    console.print(
        shlex.join(["python", "-m", "sysopt_gym.benchmarks.federated_grid", *sys.argv[1:]])
    )
    best = best_constant(cells, seeds, out)
    of_all = np.maximum(best, best_of_all(cells, seeds, out)) if oracle else None
    console.print(table_of(found, best, of_all, against))


if __name__ == "__main__":
    typer.run(main)
