"""Rejected core-hours of learned and hand-made placement over many unseen worlds, in compiled code.

    python -m sysopt_gym.benchmarks.vm_allocation_worlds --loads .9 .95 1.0 --sizes 50 100

Each contender plays the same worlds, from start to end; they are of streams that nothing was
trained or chosen on. Beside each mean is the 95 % interval over worlds, and that of the pairs with
`agent`. With `--moves` only `agent` migrates: compare it with the others without.

With `--contenders` any of the family's play, through the environment, and their plans are judged:
that is slower, and tells the empty hosts, too. `agent` has to be among them.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..agents.vm_allocation.evolution import World, rejected
from ..agents.vm_allocation.players import (
    WEIGHTS,
    load_weights,
    play_by_slots,
    play_by_worth,
)
from ..core import contracts
from ..core.budget import Budget
from ..core.play import Task, run
from ..core.registry import load_contender
from ..datasets.hosts import NODE_CPU, host_potential
from ..datasets.vm_allocation.generator import generate
from ..datasets.vm_allocation.instance import DataCenter
from ..datasets.vm_allocation.splits import SETS
from ..envs.host_potential import table_of
from ..envs.vm_allocation.problem import PROBLEM
from ..methods.vm_allocation.playing import packed_world, play_table, play_tables
from ..methods.vm_allocation.rehearsal import best_of
from ..methods.vm_allocation.slots import TUNED_WEIGHTS, slot_tables

FIRST_STREAM = 2**40  # apart from all sets' and from training's
T_95 = 1.96
EPISODE = Budget(60.0)  # of an episode, in which `agent` rehearses
JUDGED_S = 3600.0  # budget of a judged episode: nobody is cut short


def contenders() -> dict[str, Callable[[World], float]]:
    """Return name -> function that plays a world and returns the rejected % of core-hours."""
    weights, potential = load_weights(WEIGHTS), table_of(host_potential(), NODE_CPU)

    def by_slots(weights: tuple[float, float, float]) -> Callable[[World], float]:
        tables = slot_tables(weights, NODE_CPU)
        return lambda world: float(play_tables(packed_world(*world), *tables))

    def by_agent(world: World) -> float:
        shown = PROBLEM.contender_view(world.center)
        plays = play_by_worth(shown, weights), play_by_slots(shown)
        return plays[best_of(plays, shown, EPISODE, world.seed)](packed_world(*world))

    return {
        "agent": by_agent,
        "worth alone": lambda world: rejected(weights, world),
        "potential": lambda world: float(play_table(packed_world(*world), potential)),
        "slots_tuned": by_slots(TUNED_WEIGHTS),
        "slots": by_slots((1.0, 0.0, 0.0)),
    }


def interval(figures: np.ndarray) -> str:
    """Return the mean of figures, float64 [n], with its 95 % interval."""
    half = T_95 * figures.std(ddof=1) / np.sqrt(len(figures))
    return f"{figures.mean():.2f} +- {half:.2f}"


def judged(name: str) -> Callable[[World], tuple[float, float]]:
    """Return what plays a contender through the environment and judges its plan.

    Args:
        name: of a contender of the family.

    Returns:
        A function of a world, which returns the rejected % of core-hours and the empty hosts, in %.
    """
    contender = load_contender(PROBLEM.family, name)

    def play(world: World) -> tuple[float, float]:
        center, seed = world
        plan = run(contender, PROBLEM, Task(center, Budget(JUDGED_S), seed, seed)).actions
        verdict = PROBLEM.validate(center, plan, contracts.World(seed))
        return verdict.objective, (verdict.detail or {})["empty_hosts"]

    return play


def show(what: str, centers: Iterable[DataCenter], arguments: argparse.Namespace) -> None:
    """Play a world of each data center, and print a line for each contender.

    Args:
        what: that the lines begin with.
        centers: the world of each has its number as seed.
        arguments: "contenders", "hours" and "moves" of the command.
    """
    players: dict[str, Callable[[World], Any]] = {n: judged(n) for n in arguments.contenders}
    players = players or contenders()
    found: dict[str, list[np.ndarray]] = {name: [] for name in players}
    for seed, center in enumerate(centers):
        moves = arguments.moves * center.n_pms // 100
        center = dataclasses.replace(center, horizon_h=arguments.hours, moves_per_hour=moves)
        for name, play in players.items():
            found[name].append(np.atleast_1d(play(World(center, seed))))
    rows = {name: np.array(played) for name, played in found.items()}
    for name, row in rows.items():
        line = f"{what}: {name:20} {interval(row[:, 0])}"
        if name != "agent":
            line += f"  agent ahead by {interval(row[:, 0] - rows['agent'][:, 0])}"
        if row.shape[1] > 1:
            line += f"  empty hosts {interval(row[:, 1])}"
            if name != "agent":
                line += f", agent {interval(rows['agent'][:, 1] - row[:, 1])} more"
        print(line, flush=True)


def main() -> None:
    """Print a line for each contender, load and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", default="", help="a set, in place of generated ones")
    parser.add_argument("--loads", nargs="+", default=["0.95"])
    parser.add_argument("--sizes", nargs="+", default=["100"], help="PMs")
    parser.add_argument("--mix", default="medium", help="of flavors; see `data generate`")
    parser.add_argument("--law", default="exponential", help="of lifetimes; see `data generate`")
    parser.add_argument("--moves", type=int, default=0, help="an hour for each 100 PMs")
    parser.add_argument("--contenders", nargs="+", default=[], help="to be judged, with agent")
    parser.add_argument("--hours", type=float, default=72.0)
    parser.add_argument("--worlds", type=int, default=24)
    arguments = parser.parse_args()
    if arguments.instances:
        show(arguments.instances, SETS.load(arguments.instances), arguments)
        return
    for size in arguments.sizes:
        for load in arguments.loads:
            parameters = {"pms": size, "load": load, "mix": arguments.mix, "law": arguments.law}
            centers = (
                generate(parameters, FIRST_STREAM + number) for number in range(arguments.worlds)
            )
            show(f"{size} PMs, load {load}", centers, arguments)


if __name__ == "__main__":
    main()
