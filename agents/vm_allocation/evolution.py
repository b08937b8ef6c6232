"""Train what hosts are worth to `agent` by CMA-ES: `python -m
sysopt_gym.agents.vm_allocation.evolution`.

Evolution strategies need no gradient: each candidate plays the same fresh worlds in compiled code,
and the search distribution goes towards those that turned least away (Hansen, The CMA Evolution
Strategy: A Tutorial, 2016). Worlds differ in load and number of hosts, and half of them allow
migrations. Every few generations the mean is validated; the best one is written. A run that was
interrupted goes on from its file.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.files import write_bytes
from ...datasets.hosts import host_potential
from ...datasets.vm_allocation.generator import generate
from ...datasets.vm_allocation.instance import DataCenter
from ...datasets.vm_allocation.splits import SETS
from ...methods.vm_allocation.playing import packed_world
from ...methods.vm_allocation.worth import FIRST_SCALE, LAYERS, SLOTS, Weights, unflat
from ..ray_clusters import join
from .players import WEIGHTS, load_weights, play_by_worth, save_weights

FIRST_STREAM = 10**9  # of generated worlds; no set has such a stream
LOADS, SIZES, MOVES = ("0.85", "0.9", "0.95", "1.0"), ("50", "100", "200"), (0, 50)
HOURS, WORLDS = 48.0, 4  # of a generation
VALIDATE_EVERY, VALIDATION_WORLDS = 10, 3
SPREAD, LATER_SPREAD = 0.25, 0.1  # of the first candidates, from the potential and from weights
KEPT = 0.9  # of the running mean, at each generation


class World(NamedTuple):
    """A data center and the seed of its world."""

    center: DataCenter
    seed: int


def rejected(weights: Weights, world: World) -> float:
    """Return the rejected % of the core-hours in a world that weights decide.

    Args:
        weights: what hosts are worth.
        world: its hosts have two nodes of whole cores.
    """
    return play_by_worth(world.center, weights)(packed_world(*world))


def draw_worlds(rng: np.random.Generator) -> list[World]:
    """Draw the worlds of a generation: half of them allow migrations."""
    worlds = []
    for number in range(WORLDS):
        parameters = {"load": str(rng.choice(LOADS)), "pms": str(rng.choice(SIZES))}
        center = generate(parameters, FIRST_STREAM + int(rng.integers(2**31)))
        moves = MOVES[number % len(MOVES)] * center.n_pms // 100
        center = dataclasses.replace(center, horizon_h=HOURS, moves_per_hour=moves)
        worlds.append(World(center, int(rng.integers(2**32))))
    return worlds


def validation_worlds() -> list[World]:
    """Return worlds of medium-95:val, with and without migrations."""
    return [
        World(dataclasses.replace(center, moves_per_hour=moves), seed)
        for center in SETS.load("medium-95:val")
        for seed in range(VALIDATION_WORLDS)
        for moves in MOVES
    ]


@dataclasses.dataclass
class Run:
    """What an interrupted run goes on from.

    Attributes:
        search: the CMA-ES, of package cma.
        mean: running mean of its means, float64 [n].
        generation: done so far.
        seconds: spent so far.
        best: validated rejected % of the weights written last.
    """

    search: Any
    mean: np.ndarray
    best: float
    generation: int = 0
    seconds: float = 0.0


def first_weights() -> Weights:
    """Return the potential of a host as the first layer, and nothing else."""
    layers = np.zeros((len(LAYERS), len(host_potential())))
    layers[0] = host_potential()
    return Weights(layers, np.zeros(len(SLOTS)), np.full(len(SLOTS), FIRST_SCALE))


Score = Callable[[Sequence[np.ndarray], Sequence[World]], list[float]]
"""Rows of flat weights, and worlds -> mean rejected % of each row."""


def begun(is_shipped: bool, seed: int, score: Score) -> Run:
    """Begin a run.

    Args:
        is_shipped: whether from the shipped weights, else from the potential of a host.
        seed: of the search.
        score: plays the first weights.
    """
    import cma

    start = load_weights(WEIGHTS) if is_shipped else first_weights()
    spread, row = LATER_SPREAD if is_shipped else SPREAD, start.flat()
    search = cma.CMAEvolutionStrategy(row, spread, {"seed": seed + 1, "verbose": -9})
    return Run(search, row, best=score([row], validation_worlds())[0])


def train(run: Run, score: Score, minutes: float, seed: int, file: Path) -> None:
    """Go on with a run, and write the best weights and what to resume from.

    Args:
        run: changed in place.
        score: plays candidates.
        minutes: that the run takes in all.
        seed: of the worlds, with the number of the generation.
        file: what an interrupted run goes on from.
    """
    validation = validation_worlds()
    while run.seconds < 60.0 * minutes:
        begun = time.monotonic()
        worlds = draw_worlds(np.random.default_rng([seed, run.generation]))
        candidates = run.search.ask()
        run.search.tell(candidates, score(candidates, worlds))
        run.mean = KEPT * run.mean + (1.0 - KEPT) * run.search.mean
        run.generation += 1
        if run.generation % VALIDATE_EVERY == 0:
            for row, found in zip(
                both := [run.search.mean, run.mean], score(both, validation), strict=True
            ):
                if found < run.best:
                    run.best = found
                    save_weights(WEIGHTS, unflat(row))
            print(
                f"generation {run.generation}, {run.seconds / 60:.0f} min: best {run.best:.3f} % "
                f"rejected in medium-95:val, spread {run.search.sigma:.3f}",
                flush=True,
            )
        run.seconds += time.monotonic() - begun
        if run.generation % VALIDATE_EVERY == 0:
            write_bytes(file, pickle.dumps(run))


def here(pool: ThreadPoolExecutor) -> Score:
    """Return a function that plays candidates in the threads of a pool."""

    def score(rows: Sequence[np.ndarray], worlds: Sequence[World]) -> list[float]:
        pairs = [(unflat(np.asarray(row)), world) for row in rows for world in worlds]
        return _means(pool.map(lambda pair: rejected(*pair), pairs), len(worlds))

    return score


def on_ray() -> Score:
    """Return a function that plays candidates on the Ray cluster that has been joined."""
    import ray

    play = ray.remote(rejected)

    def score(rows: Sequence[np.ndarray], worlds: Sequence[World]) -> list[float]:
        sent = [ray.put(world) for world in worlds]
        calls = [play.remote(unflat(np.asarray(row)), world) for row in rows for world in sent]
        return _means(ray.get(calls), len(worlds))

    return score


def _means(played: Iterable[float], worlds: int) -> list[float]:
    means: list[float] = np.array(list(played)).reshape(-1, worlds).mean(axis=1).tolist()
    return means


def main() -> None:
    """Train, and replace the shipped weights each time that better ones are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ray", default="", help="address of a Ray cluster that plays the worlds")
    parser.add_argument("--shipped", action="store_true", help="go on from the shipped weights")
    parser.add_argument("--file", type=Path, default=Path("runs/vm_allocation_agent.pickle"))
    arguments = parser.parse_args()
    if arguments.ray:
        join(arguments.ray)
    with ThreadPoolExecutor(arguments.threads) as pool:
        score = on_ray() if arguments.ray else here(pool)
        if arguments.file.exists():
            run: Run = pickle.loads(arguments.file.read_bytes())
        else:
            run = begun(arguments.shipped, arguments.seed, score)
            arguments.file.parent.mkdir(parents=True, exist_ok=True)
        train(run, score, arguments.minutes, arguments.seed, arguments.file)


if __name__ == "__main__":
    main()
