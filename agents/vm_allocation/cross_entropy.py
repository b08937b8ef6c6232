"""Train the potential of hosts by the cross-entropy method: `python -m
sysopt_gym.agents.vm_allocation.cross_entropy`.

In each generation candidates are drawn around a mean, played in fresh worlds of medium-95:train
without migrations, and the mean goes towards the best of them (Rubinstein and Kroese, The
Cross-Entropy Method, 2004).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from ...datasets.hosts import HOST_POTENTIAL
from ...datasets.vm_allocation.instance import DataCenter
from ...datasets.vm_allocation.splits import SETS
from ...envs.host_potential import FEATURES, table_of
from ...methods.vm_allocation.playing import packed_world, play_table

CANDIDATES, BEST, WORLDS = 24, 6, 4
STEP, KEPT_SPREAD, LEAST_SPREAD = 0.6, 0.6, 0.05


def rejected(weights: np.ndarray, centers: Sequence[DataCenter], worlds: Sequence[int]) -> float:
    """Return the mean rejected % of the core-hours that one potential leads to.

    Args:
        weights: float64 [20], by FEATURES.
        centers: data centers whose hosts have two equal nodes of whole cores.
        worlds: the world's seed for each.
    """
    pairs = zip(centers, worlds, strict=True)
    return float(np.mean([_played(weights, center, world) for center, world in pairs]))


def _played(weights: np.ndarray, center: DataCenter, world: int) -> float:
    table = table_of(weights, int(center.numa_cpu.max()))
    return float(play_table(packed_world(center, world), table))


def train(generations: int, seed: int) -> np.ndarray:
    """Return trained weights, float64 [20].

    Args:
        generations: each plays CANDIDATES x WORLDS worlds.
        seed: of candidates and worlds.
    """
    rng, centers = np.random.default_rng(seed), SETS.load("medium-95:train")
    mean, spread = np.zeros(len(FEATURES)), np.ones(len(FEATURES))
    for generation in range(generations):
        candidates = mean + spread * rng.normal(size=(CANDIDATES, len(FEATURES)))
        places = rng.integers(len(centers), size=WORLDS)
        worlds = rng.integers(2**32, size=WORLDS).tolist()
        chosen = [centers[place] for place in places]
        scores = np.array([rejected(one, chosen, worlds) for one in candidates])
        best = candidates[np.argsort(scores)[:BEST]]
        mean = (1 - STEP) * mean + STEP * best.mean(axis=0)
        spread = KEPT_SPREAD * spread + (1 - KEPT_SPREAD) * best.std(axis=0)
        spread = np.maximum(LEAST_SPREAD, spread)
        print(f"generation {generation + 1}: best {scores.min():.3f} %", flush=True)
    return mean


def main() -> None:
    """Train, and replace the shipped weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    weights = train(arguments.generations, arguments.seed)
    np.savetxt(HOST_POTENTIAL, weights[None], "%.6g", ",", header=",".join(FEATURES), comments="")


if __name__ == "__main__":
    main()
