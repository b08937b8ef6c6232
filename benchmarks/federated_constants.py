"""Choose the fixed rates of server and clients that do best over a set of federations.

    python -m sysopt_gym.benchmarks.federated_constants --out results/federated-constants

Every pair of rates of a grid, under averaging, momentum and FedAdam, constant and with decay,
trains every eleventh federation of the set in one world, whatever rates the federation begins with.
What counts is the mean of the objective, of the rows that the server validates on; no test row is
seen.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..datasets.federated_lr.instance import Federation, seal
from ..datasets.federated_lr.splits import SETS
from ..envs.federated_lr.objective import score
from ..methods.federated_lr.constants import CONSTANT, Rates, candidates, train

WORLD = 0


def objectives(f: Federation, rates: list[Rates], out: Path) -> np.ndarray:
    """Return the objective of the validation rows under each of the rates, float64 [rates].

    Args:
        f: the federation; its test rows are not used.
        rates: what to train by.
        out: folder in which results are kept.
    """
    file = out / f"{f.content_hash}.npy"
    if file.exists():
        found: np.ndarray = np.load(file)
        return found
    runs = train(seal(f), [one.plan(f.rounds) for one in rates], WORLD).accuracies
    found = np.array([score(f.objective, run, f.rounds, f.target) for run in runs])
    np.save(file, found)
    return found


def main(
    out: Annotated[Path, typer.Option(help="folder for results; continues where it stopped")],
    instances: Annotated[str, typer.Option(help="a set to choose on")] = "mixed:train",
    every: Annotated[int, typer.Option(help="of its federations, one of so many")] = 11,
) -> None:
    """Train a grid of rates on a set and print the best of each kind."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    rates = candidates()
    some = SETS.load(instances)[::every]
    means = np.mean([objectives(f, rates, out) for f in track(some, instances)], axis=0)
    table = Table(box=None, pad_edge=False)
    for column in ("server rule", "alpha", "beta", "decay", "mean objective"):
        table.add_column(column)
    kinds: dict[tuple[str, bool], list[int]] = {}
    for place, one in enumerate(rates):
        kinds.setdefault((one.server, one.decay != CONSTANT), []).append(place)
    for places in kinds.values():
        for place in sorted(places, key=lambda place: -means[place])[:3]:
            server, alpha, beta, decay, both = rates[place]
            fall = decay if decay == CONSTANT else f"{decay}, {'both' if both else 'server'}"
            table.add_row(server, f"{alpha:g}", f"{beta:g}", fall, f"{means[place]:.4f}")
    console = Console(width=120)
    command = ["python", "-m", "sysopt_gym.benchmarks.federated_constants", *sys.argv[1:]]
    console.print(shlex.join(command), table, sep="\n")


if __name__ == "__main__":
    typer.run(main)
