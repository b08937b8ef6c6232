"""Play controllers on sets of federations that no agent was trained or chosen on.

    python -m sysopt_gym.benchmarks.federated_sets mixed:test --out results/mixed-test
    python -m sysopt_gym.benchmarks.federated_sets drifting:test --out results/drifting-test

Each federation is played in several worlds side by side, the same for every controller. What counts
is the federation's objective, of the judge's test rows. Intervals are a bootstrap over federations,
each the mean of its worlds; of one federation, over its worlds. `--rates` adds fixed rates as
SERVER/ALPHA/BETA, and /DECAY/server or /DECAY/both, such as those that federated_constants chose on
another set; `--oracle` adds the best of all candidates in hindsight, in the first few worlds.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..core.contender_arguments import name_contender
from ..core.errors import OutputError
from ..core.registry import contender_names
from ..datasets.federated_lr.instance import Federation
from ..datasets.federated_lr.splits import SETS
from ..envs.federated_lr.objective import score
from ..evaluation.statistics import mean
from ..methods.federated_lr.constants import CONSTANT, Rates, candidates, train
from .federated_grid import BASELINE, FAMILY, FIRST_WORLD, play

ORACLE = "best_of_all_constants"


def scored(f: Federation, runs: np.ndarray) -> np.ndarray:
    """Return objectives, float64 [n], of accuracies float64 [n, T]."""
    return np.array([score(f.objective, run, f.rounds, f.target) for run in runs])


def played(name: str, some: Sequence[Federation], seeds: int, out: Path) -> np.ndarray:
    """Return a controller's objectives, float64 [federations, seeds]; kept in a file.

    Args:
        name: name of the controller, or fixed rates as `--rates` has them.
        some: the federations.
        seeds: worlds of each.
        out: folder of the files.

    Raises:
        OutputError: the file is of another set or number of worlds.
    """
    file = out / f"{name.replace('/', '-')}.npy"
    if file.exists():
        found: np.ndarray = np.load(file)
        if found.shape != (len(some), seeds):
            raise OutputError(f"{file}: holds {found.shape}; choose another --out")
        return found
    worlds = range(FIRST_WORLD, FIRST_WORLD + seeds)
    found = np.empty((len(some), seeds))
    for row, f in enumerate(track(some, name)):
        if "/" in name:
            plans = [rates_of(name).plan(f.rounds)]
            runs = np.concatenate([train(f, plans, world).accuracies for world in worlds])
        else:
            runs = play(name, [(f, world) for world in worlds])
        found[row] = scored(f, runs)
    np.save(file, found)
    return found


def rates_of(text: str) -> Rates:
    """Read fixed rates; see the module's first lines."""
    server, alpha, beta, *fall = text.split("/")
    decay, both = fall or (CONSTANT, "server")
    return Rates(server, float(alpha), float(beta), decay, both == "both")


def best_of_all(some: Sequence[Federation], seeds: int, out: Path) -> np.ndarray:
    """Return the objectives of the best candidates in hindsight, float64 [federations, seeds].

    Args:
        some: the federations.
        seeds: worlds of each.
        out: folder of the files, one a federation and world.
    """
    best = np.empty((len(some), seeds))
    for row, seed in track(
        [(row, seed) for row in range(len(some)) for seed in range(seeds)], ORACLE
    ):
        file, f = out / f"{ORACLE}-{row}-{seed}.npy", some[row]
        if not file.exists():
            plans = [one.plan(f.rounds) for one in candidates()]
            np.save(file, scored(f, train(f, plans, FIRST_WORLD + seed).accuracies))
        best[row, seed] = np.load(file).max()
    return best


def table_of(found: dict[str, np.ndarray], against: str) -> Table:
    """Make the table: one row per controller, the best first; differences in points.

    Args:
        found: controller -> objectives, float64 [federations, seeds]; of an oracle, of the first
            few seeds.
        against: the controller that the others are compared with.
    """
    table = Table(box=None, pad_edge=False)
    for column in ("controller", "mean objective", f"{against} is better by", "in"):
        table.add_column(column)
    for name, own in sorted(found.items(), key=lambda row: -row[1].mean()):
        leads = found[against][:, : own.shape[1]] - own
        other = leads.mean(axis=1) if len(leads) > 1 else leads[0]
        lead = mean(other)
        interval = ""
        if lead.low is not None and lead.high is not None:
            interval = f" [{100 * lead.low:.1f}, {100 * lead.high:.1f}]"
        table.add_row(
            name,
            f"{own.mean():.4f}",
            f"{100 * lead.value:.1f}{interval}",
            f"{np.mean(other > 0):.0%}",
        )
    return table


def main(
    instances: Annotated[str, typer.Argument(help="a set of federations")],
    out: Annotated[Path, typer.Option(help="folder for results; continues where it stopped")],
    contenders: Annotated[list[str] | None, typer.Option(help="controllers (default: all)")] = None,
    rates: Annotated[list[str] | None, typer.Option(help="fixed rates beside them")] = None,
    seeds: Annotated[int, typer.Option(help="worlds per federation")] = 2,
    against: Annotated[str, typer.Option(help="compare the others with this one")] = "agent",
    oracle: Annotated[int, typer.Option(help="worlds in which hindsight is added")] = 0,
) -> None:
    """Play controllers on every federation of a set and print the table."""
    torch.set_num_threads(1)
    given = contenders or contender_names(FAMILY, form="player")
    names = [name_contender(FAMILY, name) for name in given]
    names = list(dict.fromkeys([BASELINE, against, *names, *(rates or [])]))
    some = SETS.load(instances)
    out.mkdir(parents=True, exist_ok=True)
    found = {name: played(name, some, seeds, out) for name in names}
    if oracle:
        found[ORACLE] = best_of_all(some, oracle, out)
    console = Console(width=140)
    command = ["python", "-m", "sysopt_gym.benchmarks.federated_sets", *sys.argv[1:]]
    console.print(shlex.join(command), table_of(found, against), sep="\n")


if __name__ == "__main__":
    typer.run(main)
