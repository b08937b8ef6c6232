"""Draw neural networks from seeds, and make programs of them by the importers.

A recipe is an architecture, a direction and sizes. It is what is kept of a program: the network is
written again from it and imported, in a second or a few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from ....core.errors import InstanceError
from ....core.extras import missing
from ..instance import Program, roofline
from .kept import kept

CAPACITY = "1/4"
LEAST_IDEAL = 1.15  # all-slow time over all-fast time; below it there is little to gain
FEWEST, MOST = 40, 2500  # decisions
MOST_TRIES = 40  # networks drawn for one program of a set
FORWARD, TRAIN = "forward", "train"


class Range(NamedTuple):
    """Sizes to draw from.

    Attributes:
        low: the smallest.
        high: the largest.
        step: sizes are multiples of it.
    """

    low: int
    high: int
    step: int = 1

    def draw(self, rng: np.random.Generator) -> int:
        """Draw a size, uniform in its logarithm, to the nearest multiple of the step."""
        size = float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return int(np.clip(round(size / self.step) * self.step, self.low, self.high))


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of network.

    Attributes:
        framework: "torch" or "jax"; which it is written in.
        directions: FORWARD, TRAIN, or both.
        sizes: range of each size by its name.
    """

    framework: str
    directions: tuple[str, ...]
    sizes: Mapping[str, Range]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network to write and import.

    Attributes:
        architecture: a key of ARCHITECTURES.
        direction: FORWARD or TRAIN.
        sizes: size by name, each in the architecture's range.
    """

    architecture: str
    direction: str
    sizes: Mapping[str, int]


BOTH = (FORWARD, TRAIN)
TOKENS = {
    "blocks": Range(1, 6), "batch": Range(1, 16), "length": Range(32, 512, 32),
    "heads": Range(2, 12), "head": Range(32, 64, 32), "vocabulary": Range(1024, 16384, 1024),
}  # fmt: skip
STEPS = {
    "layers": Range(1, 4), "width": Range(128, 1024, 64), "batch": Range(4, 128, 4),
    "steps": Range(16, 256, 8), "classes": Range(16, 4096, 16),
}  # fmt: skip
IMAGE = {"batch": Range(1, 16), "edge": Range(32, 160, 32)}

ARCHITECTURES: Mapping[str, Architecture] = {
    "resnet": Architecture(
        "torch",
        BOTH,
        {**IMAGE, "width": Range(16, 64, 8), "stages": Range(2, 4), "blocks": Range(1, 3),
         "classes": Range(10, 1000, 10)},
    ),
    "unet": Architecture(
        "torch", BOTH, {**IMAGE, "width": Range(8, 48, 8), "depth": Range(2, 4)}
    ),
    "transformer": Architecture("torch", BOTH, TOKENS),
    "moe": Architecture(
        "torch", BOTH, {**TOKENS, "blocks": Range(1, 3), "experts": Range(2, 8)}
    ),
    "decoder": Architecture("torch", (FORWARD,), {**TOKENS, "blocks": Range(2, 8)}),
    "lstm": Architecture("torch", BOTH, {**STEPS, "layers": Range(1, 2), "steps": Range(4, 16)}),
    "scan_transformer": Architecture("jax", BOTH, {**TOKENS, "blocks": Range(2, 24)}),
    "scan_decoder": Architecture(
        "jax", (FORWARD,), {**TOKENS, "blocks": Range(1, 6), "steps": Range(2, 32)}
    ),
    "scan_lstm": Architecture("jax", BOTH, STEPS),
    "axial": Architecture(
        "torch",
        BOTH,
        {"layers": Range(1, 3), "batch": Range(1, 16), "grid": Range(4, 12),
         "heads": Range(2, 8), "head": Range(16, 32, 16)},
    ),
    "diffusion": Architecture(
        "torch",
        BOTH,
        {**IMAGE, "width": Range(16, 48, 8), "depth": Range(1, 3), "heads": Range(1, 4)},
    ),
    "graph_net": Architecture(
        "torch",
        BOTH,
        {"nodes": Range(256, 8192, 64), "degree": Range(2, 16), "features": Range(16, 256, 16),
         "width": Range(32, 256, 32), "layers": Range(2, 8)},
    ),
    "scan_gru": Architecture("jax", BOTH, STEPS),
}  # fmt: skip
HELD_OUT = ("axial", "diffusion", "graph_net", "scan_gru")
SEEN = tuple(name for name in ARCHITECTURES if name not in HELD_OUT)


def draw_recipe(architecture: str, direction: str, seed: int) -> Recipe:
    """Draw the sizes of a network.

    Args:
        architecture: a key of ARCHITECTURES.
        direction: FORWARD or TRAIN.
        seed: the same seed gives the same recipe.
    """
    rng = np.random.default_rng([seed, 0x40DE15])
    ranges = ARCHITECTURES[architecture].sizes
    sizes = {name: ranges[name].draw(rng) for name in sorted(ranges)}
    if "depth" in sizes:  # every halving of the edge is whole; IMAGE's steps are 2 ** 5
        sizes["width"] = -(-sizes["width"] // 4) * 4
    if architecture == "diffusion":  # the middle's channels are divided among the heads
        sizes["heads"] = 2 ** int(np.log2(sizes["heads"]))
    if "steps" in sizes and "length" in sizes:  # a cache has room for the tokens made
        sizes["steps"] = min(sizes["steps"], sizes["length"])
    return Recipe(architecture, direction, sizes)


def program_of_recipe(recipe: Recipe, name: str, capacity: str = CAPACITY) -> Program:
    """Write a recipe's network and import it; see kept.py for where the program is kept.

    Args:
        recipe: the recipe.
        name: name of the program.
        capacity: size of fast memory, as in `sizes.read_capacity`.

    Raises:
        MissingDependencyError: torch or jax is not installed.
        InstanceError: there is nothing to decide.
    """
    return kept(recipe, capacity, name, lambda: _imported(recipe, name, capacity))


def _imported(recipe: Recipe, name: str, capacity: str) -> Program:
    try:
        if ARCHITECTURES[recipe.architecture].framework == "torch":
            from .torch_programs import import_network as import_drawn
        else:
            from .jax_programs import import_function as import_drawn
    except ModuleNotFoundError as error:
        raise missing(error, f"{name} ({recipe.architecture})") from error
    is_train = recipe.direction == TRAIN
    return import_drawn(recipe.architecture, is_train, recipe.sizes, name, capacity)


def turns(architectures: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return every architecture in each of its directions; a set takes them in turn.

    Args:
        architectures: keys of ARCHITECTURES.
    """
    return [
        (name, direction)
        for direction in BOTH
        for name in architectures
        if direction in ARCHITECTURES[name].directions
    ]


def draw_programs(
    set_name: str, architectures: tuple[str, ...], first_seed: int
) -> Iterator[Program]:
    """Draw the endless sequence whose first programs are a set.

    Architectures and directions take turns; each draws sizes from one seed after the other until
    the program is within FEWEST to MOST decisions and gains at least LEAST_IDEAL.

    Args:
        set_name: name of the set.
        architectures: keys of ARCHITECTURES.
        first_seed: the set's first seed.
    """
    each, seeds = turns(architectures), count(first_seed)
    for row in count():
        architecture, direction = each[row % len(each)]
        yield _next_worthwhile(
            f"{set_name}/{row}-{architecture}-{direction}", architecture, direction, seeds
        )


def _next_worthwhile(name: str, architecture: str, direction: str, seeds: Iterator[int]) -> Program:
    """Return the first program, of one seed after the other, that is worth planning.

    Raises:
        InstanceError: none of MOST_TRIES programs is, or could be imported.
    """
    why = "too short, too long, or with too little to gain"
    for seed in islice(seeds, MOST_TRIES):
        try:
            program = program_of_recipe(draw_recipe(architecture, direction, seed), name)
        except InstanceError as error:
            why = str(error)
            continue
        times = roofline(program)
        gains = times.all_slow_s >= LEAST_IDEAL * times.all_fast_s
        if gains and FEWEST <= program.n_decisions <= MOST:
            return program
    raise InstanceError(f"{name}: {MOST_TRIES} networks were drawn in vain; the last: {why}")
