"""Tell how far plans of memory mapping are below the proven bound, and what the bound leaves out.

    python -m sysopt_gym.benchmarks.memory_bounds --instances models:test --seconds 60

A row is a program: the speed-up with everything in fast memory; the bound of the relaxation, which
has no addresses; the relaxation's best point; whether that point's buffers could be held whole at
all, as the height of the lowest packing found with free choice of addresses, in parts of fast
memory (at most 1 fits); and the best plan, with how much it is below the bound. Where the point
equals the bound and fits, what is left is due to the game's own rule of addresses (the smallest gap
that fits, when its turn comes) and to the search for plans.
"""

from __future__ import annotations

import argparse

import numpy as np

from ..core.budget import Budget
from ..core.contracts import World
from ..core.registry import load_contender
from ..datasets.memory_mapping.instance import Program
from ..datasets.memory_mapping.packing import Packing
from ..envs.memory_mapping.dynamics import Static
from ..envs.memory_mapping.objective import all_fast_bound
from ..envs.memory_mapping.problem import PROBLEM
from ..envs.memory_mapping.static import planning_static
from ..methods import highs
from ..methods.memory_mapping.model import Model, build
from ..methods.memory_mapping.packing import pack
from ..methods.memory_mapping.proof import bound_of
from .timing import count_cpu_seconds

HELD = 1e-6  # share of fast memory above which a buffer counts as held
PACKING_S, WARM_S = 10.0, 2.0


def main() -> None:
    """Read the command line and print a row of a Markdown table for each program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--instances", nargs="+", default=["models:test"])
    parser.add_argument("--seconds", type=float, default=60.0, help="of the relaxation and a plan")
    parser.add_argument("--contenders", nargs="+", default=["portfolio", "agent"])
    given = parser.parse_args()
    count_cpu_seconds()
    for name in given.contenders:  # compile before the clocks start
        load_contender(PROBLEM.family, name).object(PROBLEM.warm_up_instance(), Budget(WARM_S), 0)
    print("| program | decisions | all fast | bound | its point | packed | best plan | below |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in given.instances:
        for program in PROBLEM.sets.load(name):
            print(row(program, given.seconds, given.contenders), flush=True)


def row(program: Program, seconds: float, contenders: list[str]) -> str:
    """Return the row of a program.

    Args:
        program: the program.
        seconds: for the relaxation, and for each plan.
        contenders: who plans.
    """
    static = planning_static(program)
    model = build(static)
    clock = Budget(seconds).start()
    outcome = highs.solve(model.program(), lambda: clock.remaining)
    bound = bound_of(static, model, outcome)
    point, packed = "–", "–"
    if outcome.x is not None:
        cost = float(np.dot(model.cost, outcome.x)) + model.constant
        point = f"{static.all_slow / (cost * model.ps):.3f}"
        packed = f"{height(model, outcome.x, static) / static.capacity:.2f}"
    best = 0.0
    for name in contenders:
        solve = load_contender(PROBLEM.family, name).object
        plan = solve(program, Budget(seconds), 0).actions
        best = max(best, float(PROBLEM.validate(program, np.asarray(plan), World()).objective))
    cells = (
        f"`{program.name}`", f"{len(static.dec_instr)}", f"{all_fast_bound(static):.3f}",
        f"{bound:.3f}", point, packed, f"{best:.3f}", f"{100 * (1 - best / bound):.1f} %",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def height(model: Model, point: np.ndarray, static: Static) -> int:
    """Return the height, bytes, of the lowest packing found of what a point holds, each whole.

    Args:
        model: the relaxation.
        point: float64 [C]; a point of it.
        static: the program.
    """
    held = np.zeros((len(static.buf_size), len(model.held) + 1))
    for at, terms in enumerate(model.held):
        for column, share in terms.items():
            held[model.buffers[column], at] += share * point[column]
    edges = np.diff((held > HELD).astype(np.int8), axis=1, prepend=0)
    buffer, lower = np.nonzero(edges == 1)
    _, upper = np.nonzero(edges == -1)
    packing = Packing(
        "", tuple(map(str, buffer)), lower, upper, static.buf_size[buffer], capacity=0
    )  # fmt: skip
    return pack(packing, Budget(PACKING_S), 0).height


if __name__ == "__main__":
    main()
