"""Choose the arms and the length of a block of `ftrl`, and what it is compared with.

    python -m sysopt_gym.benchmarks.rate_bandits --out results/rate-bandits

Every constant pair of averaging trains every fifth federation of drifting:train. The arms are the
pair with the best mean, and those that add most to the mean of the best arm of each federation.
Then the bandit plays the same federations with blocks of several lengths. What counts is the mean
accuracy of all rounds, of the rows that the server validates on; no test row is seen.

`Exp3` and `Uniform` are the same loop with other rules of drawing arms, for federated_sets.
"""

from __future__ import annotations

import shlex
import sys
from functools import partial
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
from ..methods.bandits import exponential_weights
from ..methods.federated_lr.constants import CONSTANT, Rates, candidates, train
from ..solvers.federated_lr.ftrl import FTRL
from .federated_grid import play_policies
from .kept_files import kept

INSTANCES, EVERY = "drifting:train", 5
WORLDS = (0, 1)
MOST_ARMS = 4
BLOCKS = (1, 2, 3, 4, 5, 6, 8, 10)


def alike(losses: np.ndarray, eta: float) -> np.ndarray:
    """Return the same probability for every arm, float64 [K], whatever the losses [K] and eta."""
    return np.full(len(losses), 1.0 / len(losses))


class Exp3(FTRL):
    """Draw by exponential weights."""

    def __init__(self) -> None:
        super().__init__(rule=exponential_weights)


class Uniform(FTRL):
    """Draw every arm alike."""

    def __init__(self) -> None:
        super().__init__(rule=alike)


def constants_of(f: Federation, rates: list[Rates], out: Path) -> np.ndarray:
    """Return the mean accuracy of a sealed federation under each of the rates, float64 [rates]."""
    plans = [one.plan(f.rounds) for one in rates]
    return kept(
        out / f"constants-{f.content_hash}.pkl", lambda: train(f, plans, 0).accuracies.mean(axis=1)
    )


def bandits_of(f: Federation, out: Path) -> np.ndarray:
    """Return the mean accuracy of a sealed federation by blocks of BLOCKS, float64 [blocks]."""
    jobs = [(f, world) for world in WORLDS]
    makers = [partial(FTRL, block) for block in BLOCKS]
    return kept(
        out / f"blocks-{f.content_hash}.pkl",
        lambda: np.array([play_policies(make, jobs).mean() for make in makers]),
    )


def greedy(scores: np.ndarray) -> list[int]:
    """Return the columns, MOST_ARMS of them, of which each adds most to the mean of the rows'
    greatest.

    Args:
        scores: float64 [federations, rates].
    """
    taken: list[int] = []
    best = np.full(len(scores), -np.inf)
    for _ in range(MOST_ARMS):
        column = int(np.maximum(best[:, None], scores).mean(axis=0).argmax())
        best = np.maximum(best, scores[:, column])
        taken.append(column)
    return taken


def main(
    out: Annotated[Path, typer.Option(help="folder for results; continues where it stopped")],
) -> None:
    """Print the arms that serve a set of federations together, and how long to play one."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    rates = [one for one in candidates() if (one.server, one.decay) == ("average", CONSTANT)]
    some = [seal(f) for f in SETS.load(INSTANCES)[::EVERY]]
    scores = np.array([constants_of(f, rates, out) for f in track(some, "constants")])
    arms = Table(box=None, pad_edge=False)
    for column in ("arm", "alone", "best of the arms so far in hindsight"):
        arms.add_column(column)
    taken = greedy(scores)
    for count, arm in enumerate(taken, 1):
        together = scores[:, taken[:count]].max(axis=1).mean()
        name = f"{rates[arm].alpha:g}/{rates[arm].beta:g}"
        arms.add_row(name, f"{scores[:, arm].mean():.4f}", f"{together:.4f}")
    means = np.mean([bandits_of(f, out) for f in track(some, "blocks")], axis=0)
    blocks = Table(box=None, pad_edge=False)
    for column in ("rounds of a block", "mean objective"):
        blocks.add_column(column)
    for block, value in zip(BLOCKS, means, strict=True):
        blocks.add_row(f"{block}", f"{value:.4f}")
    console = Console(width=100)
    command = ["python", "-m", "sysopt_gym.benchmarks.rate_bandits", *sys.argv[1:]]
    console.print(shlex.join(command), arms, blocks, sep="\n")


if __name__ == "__main__":
    typer.run(main)
