"""Tune the weights of `slots_tuned`: `python -m sysopt_gym.solvers.vm_allocation.tuning`.

The cross-entropy method (Rubinstein and Kroese, 2004) over the logarithms of the three weights: in
each generation candidates are drawn around a mean and played in fresh worlds of medium-95:train,
and the mean goes towards the best of them. Worlds of the other splits are never drawn; the last
lines play medium-95:val beside weights that were not tuned. Prints the weights; they are written by
hand into methods/vm_allocation/slots.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from ...datasets.vm_allocation.instance import DataCenter
from ...datasets.vm_allocation.splits import SETS
from ...methods.vm_allocation.playing import packed_world, play_tables
from ...methods.vm_allocation.slots import TUNED_WEIGHTS, slot_tables

TRAINED_ON = "medium-95:train"
CANDIDATES, BEST, WORLDS = 20, 5, 6
STEP, KEPT_SPREAD, LEAST_SPREAD = 0.6, 0.6, 0.05
CHECKED = 8  # worlds of each data center of medium-95:val

Weights = tuple[float, float, float]


def rejected(weights: Weights, center: DataCenter, packed: np.ndarray) -> float:
    """Return the rejected % of the core-hours that weights lead to.

    Args:
        weights: see `slot_worth`.
        center: its hosts have two equal nodes.
        packed: a world of the center before its first event, int64 [n]; it is not changed.
    """
    tables = slot_tables(weights, int(center.numa_cpu.max()) // center.cpu_per_core)
    return float(play_tables(packed.copy(), *tables))


def draw_worlds(rng: np.random.Generator) -> Iterator[tuple[DataCenter, np.ndarray]]:
    """Draw the worlds of a generation: data centers to train on, each with a packed world.

    Args:
        rng: draws centers and the worlds' seeds.
    """
    centers = SETS.load(TRAINED_ON)
    for place in rng.integers(len(centers), size=WORLDS).tolist():
        yield centers[place], packed_world(centers[place], int(rng.integers(2**32)))


def tune(generations: int, seed: int) -> Weights:
    """Return tuned weights.

    Args:
        generations: each plays CANDIDATES x WORLDS worlds.
        seed: of candidates and worlds.
    """
    rng = np.random.default_rng(seed)
    mean, spread = np.zeros(3), np.ones(3)
    for generation in range(generations):
        worlds = list(draw_worlds(rng))
        candidates = mean + spread * rng.normal(size=(CANDIDATES, 3))
        scores = np.array(
            [np.mean([rejected(_weights(one), *world) for world in worlds]) for one in candidates]
        )
        best = candidates[np.argsort(scores)[:BEST]]
        mean = (1 - STEP) * mean + STEP * best.mean(axis=0)
        spread = np.maximum(
            LEAST_SPREAD, KEPT_SPREAD * spread + (1 - KEPT_SPREAD) * best.std(axis=0)
        )
        print(f"generation {generation + 1}: best {scores.min():.3f} %", flush=True)
    return _weights(mean)


def _weights(logarithms: np.ndarray) -> Weights:
    on_16, on_32, on_64 = np.exp(logarithms).tolist()
    return on_16, on_32, on_64


def main() -> None:
    """Tune, and check the weights on the data centers that are for choosing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tuned = tune(arguments.generations, arguments.seed)
    named = {"tuned": tuned, "shipped": TUNED_WEIGHTS, "alike": (1.0, 1.0, 1.0)}
    worlds = [
        (center, packed_world(center, world))
        for center in SETS.load("medium-95:val")
        for world in range(CHECKED)
    ]
    for name, weights in named.items():
        lost = [rejected(weights, *world) for world in worlds]
        figures = ", ".join(f"{weight:.4g}" for weight in weights)
        print(f"{name} ({figures}): {np.mean(lost):.3f} % on {len(lost)} worlds of medium-95:val")


if __name__ == "__main__":
    main()
