"""How time grows with the size of an instance, as docs/scale.md reports.

    python -m sysopt_gym.benchmarks.scale                       # every family
    python -m sysopt_gym.benchmarks.scale memory_mapping --sizes 10 100

For each family, instances of three sizes over two decades are generated; a random legal plan is
played on each; and each part is timed once. The last line of a family's table is the exponent of
the growth of time with size: 1 is linear. A straight line through the logarithms gives it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from ..core.contracts import World
from ..core.registry import load_problem
from ..evaluation.judge import judge

PARTS = ("generate", "reset", "step", "judge", "validate", "export")
LEAST_S = 1e-6  # what a clock can tell


class Growth(NamedTuple):
    """What grows in a family's instances.

    Attributes:
        what: name of the size.
        sizes: that are tried unless others are asked for.
        parameters: size -> parameters of the generator.
        settings: size -> settings of the instance.
        masked: whether the environment has a mask of legal actions; all are legal otherwise.
    """

    what: str
    sizes: tuple[int, ...]
    parameters: Callable[[int], Mapping[str, str]]
    settings: Callable[[int], Mapping[str, str]] = lambda size: {}
    masked: bool = True


FAMILIES = {
    "vm_rescheduling": Growth(
        "physical machines",
        (100, 1000, 10_000),
        lambda size: {"pms": str(size)},
        lambda size: {"mnl": str(max(1, size // 6))},
    ),
    "memory_mapping": Growth(
        "layers of a transformer's train step, policy reserve",
        (10, 100, 1000),
        lambda size: {"kind": "transformer", "train": "1", "layers": str(size)},
        lambda size: {"dead_end": "reserve"},
    ),
    "sequence_design": Growth(
        "measured sequences", (1000, 10_000, 100_000), lambda size: {"rows": str(size)}
    ),
    "federated_lr": Growth(
        "clients of 20 rows each",
        (10, 100, 1000),
        lambda size: {"clients": str(size), "rows": str(20 * size)},
        masked=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each part on an instance.

    Attributes:
        size: of the instance.
        steps: of the plan that was played.
        seconds: part -> seconds; those of `step` are of all steps.
    """

    size: int
    steps: int
    seconds: Mapping[str, float]


def measure(family: str, size: int, seed: int = 0) -> Measured:
    """Generate an instance, play a random legal plan on it, and time each part once.

    Args:
        family: name of the family.
        size: of the instance.
        seed: of the generator.
    """
    problem, growth = load_problem(family), FAMILIES[family]
    seconds = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, work: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.perf_counter()
        done = work(*arguments)
        seconds[part] += time.perf_counter() - begun
        return done

    made = timed("generate", problem.generate, growth.parameters(size), seed)
    instance = problem.apply_settings(made, growth.settings(size))
    rng, actions = np.random.default_rng(0), []
    arguments = dict(problem.env_arguments) | {"instances": [instance]}
    with gym.make(f"sysopt_gym:{problem.env_id}", disable_env_checker=True, **arguments) as env:
        timed("reset", env.reset)
        env.action_space.seed(0)
        ended = False
        while not ended:
            if growth.masked:
                legal = np.flatnonzero(env.unwrapped.action_masks())  # type: ignore[attr-defined]
                action = rng.choice(legal)
            else:
                action = env.action_space.sample()
            _, _, terminated, truncated, _ = timed("step", env.step, action)
            actions.append(action)
            ended = terminated or truncated
    plan, world = np.array(actions, np.int64), World(0, 0.0)
    found = timed("judge", judge, problem, instance, plan, world)
    if not found.agree:
        raise RuntimeError(f"{family} {size}: {found.violations[0]}")
    timed("validate", problem.validate, instance, plan, world)
    if found.feasible:
        timed("export", problem.export_plan, instance, plan)
    return Measured(size, len(actions), seconds)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Return the power of the size that the seconds grow with: the slope of a straight line through
    the logarithms.

    Args:
        sizes: at least two.
        seconds: of each.
    """
    logs = [math.log(max(one, LEAST_S)) for one in seconds]
    return float(np.polyfit(np.log(sizes), logs, 1)[0])


def table(family: str, sizes: list[int]) -> Iterator[str]:
    """Measure a family; yield the rows of a Markdown table as they are known.

    Args:
        family: name of the family.
        sizes: of the instances, the smallest first.
    """
    yield f"| {family}: {FAMILIES[family].what} | steps | {' | '.join(PARTS)} |"
    yield "|" + "---:|" * (2 + len(PARTS))
    measure(family, sizes[0], seed=1)  # compiles
    found = []
    for size in sizes:
        found.append(measure(family, size))
        cells = [f"{found[-1].seconds[part]:.3g} s" for part in PARTS]
        yield f"| {size:,} | {found[-1].steps:,} | {' | '.join(cells)} |"
    if len(sizes) > 1:
        slopes = [exponent(sizes, [one.seconds[part] for one in found]) for part in PARTS]
        yield f"| exponent | | {' | '.join(f'{slope:.2f}' for slope in slopes)} |"


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; all if none")
    parser.add_argument("--sizes", nargs="+", type=int, help="instead of the families' own")
    arguments = parser.parse_args()
    for family in arguments.families or FAMILIES:
        for line in table(family, sorted(arguments.sizes or FAMILIES[family].sizes)):
            print(line, flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
