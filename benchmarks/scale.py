"""How time grows with the size of an instance, as docs/scale.md reports.

    python -m sysopt_gym.benchmarks.scale                       # every family
    python -m sysopt_gym.benchmarks.scale memory_mapping --sizes 10 100

For each family, instances of three sizes over two decades are generated; each is saved and loaded;
a random legal plan is played, judged, exported, and reported as the only row of a comparison.
Each part's CPU seconds are taken once. Memory is the process's peak, less that after the smallest
instance had been played once to compile. The last line of a family's table is the exponent of the
growth with size: 1 is linear. A straight line through the logarithms gives it, for memory the line
through the two largest sizes.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from ..core.budget import Budget
from ..core.contracts import World
from ..core.errors import SolutionError
from ..core.registry import load_problem
from ..core.results import Status
from ..evaluation.cells import Cell, Entry, Folder
from ..evaluation.judge import Judgement, judge
from ..evaluation.report import write_report
from ..evaluation.seat import Terms, blank_row

PARTS = (
    "generate", "save", "load", "reset", "step", "judge", "validate", "export", "report",
)  # fmt: skip
LEAST_S = 1e-6  # what a clock can tell
MEBIBYTE = 2**10  # in the units of ru_maxrss


class Growth(NamedTuple):
    """What grows in a family's instances; what follows a ":" tells two growths of one apart.

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
        (300, 3000, 30_000),
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
        "measured sequences", (10_000, 100_000, 1_000_000), lambda size: {"rows": str(size)}
    ),
    "federated_lr": Growth(
        "clients of 20 rows each",
        (100, 1000, 10_000),
        lambda size: {"clients": str(size), "rows": "20"},
        masked=False,
    ),
    "federated_lr:parameters": Growth(
        "thousands of parameters of a logistic regression, 4 clients of 20 rows each, 3 rounds",
        (100, 1000, 10_000),
        lambda size: {
            "clients": "4",
            "rows": "20",
            "features": str(max(1000, size)),
            "classes": str(min(1000, size * 1000 // max(1000, size))),
        },
        lambda size: {"rounds": "3"},
        masked=False,
    ),
    "vm_allocation": Growth(
        "physical machines, an hour",
        (100, 1000, 10_000),
        lambda size: {"pms": str(size)},
        lambda size: {"horizon_h": "1"},
    ),
    "sequence_parallelism": Growth(
        "sequences of a training step", (512, 4096, 32_768), lambda size: {"sequences": str(size)}
    ),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What each part takes on an instance.

    Attributes:
        size: of the instance.
        steps: of the plan that was played.
        seconds: part -> CPU seconds; those of `step` are of all steps.
        peak: most memory that this process has had so far, in MiB.
    """

    size: int
    steps: int
    seconds: Mapping[str, float]
    peak: float


def measure(family: str, size: int, seed: int = 0) -> Measured:
    """Generate an instance, play a random legal plan on it, and time each part once.

    Args:
        family: of FAMILIES.
        size: of the instance.
        seed: of the generator.
    """
    problem, growth = load_problem(family.partition(":")[0]), FAMILIES[family]
    seconds = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, work: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.process_time()
        done = work(*arguments)
        seconds[part] += time.process_time() - begun
        return done

    made = timed("generate", problem.generate, growth.parameters(size), seed)
    instance = problem.apply_settings(made, growth.settings(size))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "instance.npz")
        timed("save", instance.save, file)
        instance = timed("load", problem.instance_type.load, file)
    rng, actions, world = np.random.default_rng(0), [], World(0, 0.0)
    arguments = dict(problem.env_arguments) | {"instances": [instance]}
    with gym.make(f"sysopt_gym:{problem.env_id}", disable_env_checker=True, **arguments) as env:
        timed("reset", lambda: env.reset(seed=world.seed))
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
    plan = np.array(actions, np.int64)
    found = timed("judge", judge, problem, instance, plan, world)
    if not found.agree:
        raise RuntimeError(f"{family} {size}: {found.violations[0]}")
    timed("validate", problem.validate, instance, plan, world)
    if found.feasible:
        with suppress(SolutionError):  # of worlds that are drawn no plan is exported
            timed("export", problem.export_plan, instance, plan)
    with tempfile.TemporaryDirectory() as place:
        folder_of_rows = a_comparison(instance, plan, found, Path(place))
        timed("report", write_report, folder_of_rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE
    return Measured(size, len(actions), seconds, peak)


def a_comparison(instance: Any, plan: np.ndarray, found: Judgement, place: Path) -> Folder:
    """Write the folder of a comparison whose only row is a plan.

    Args:
        instance: the instance.
        plan: the plan.
        found: what the judge found of it.
        place: the folder.
    """
    family = instance.FAMILY
    cell = Cell(Entry(family, instance, {}), load_problem(family).defaults.baseline, 0, 0)
    row = blank_row(cell, Terms({family: Budget(1.0)}, ""))
    status: Status = "feasible" if found.feasible else "infeasible"
    row = replace(
        row, actions=plan.tolist(), status=status, objective=found.objective, wall_s=1.0, cpu_s=1.0,
        feasible=found.feasible, scored_objective=found.objective,
    )  # fmt: skip
    folder = Folder(place)
    folder.prepare()
    folder.seal("", [cell.entry])
    folder.keep(cell, row)
    folder.open_up([cell.entry])
    return folder


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
        family: of FAMILIES.
        sizes: of the instances, the smallest first.
    """
    yield f"| {family}: {FAMILIES[family].what} | steps | {' | '.join(PARTS)} | memory |"
    yield "|" + "---:|" * (3 + len(PARTS))
    before = measure(family, sizes[0], seed=1).peak  # compiles
    found = []
    for size in sizes:
        found.append(measure(family, size))
        cells = [f"{found[-1].seconds[part]:.3g} s" for part in PARTS]
        cells.append(f"{found[-1].peak - before:.0f} MiB")
        yield f"| {size:,} | {found[-1].steps:,} | {' | '.join(cells)} |"
    if len(sizes) > 1:
        slopes = [exponent(sizes, [one.seconds[part] for one in found]) for part in PARTS]
        slopes.append(exponent(sizes[-2:], [max(1.0, one.peak - before) for one in found[-2:]]))
        yield f"| exponent | | {' | '.join(f'{slope:.2f}' for slope in slopes)} |"


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; all if none")
    parser.add_argument("--sizes", nargs="+", type=int, help="instead of the families' own")
    arguments = parser.parse_args()
    os.environ.setdefault("SYSOPT_MAX_FILE_MB", "4096")  # the largest are above the usual limit
    for family in arguments.families or FAMILIES:
        for line in table(family, sorted(arguments.sizes or FAMILIES[family].sizes)):
            print(line, flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
