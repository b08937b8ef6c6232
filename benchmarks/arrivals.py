"""What each objective of vm_rescheduling is worth to VMs that arrive after the plan.

    python -m sysopt_gym.benchmarks.arrivals lookalike:test --count 8
    python -m sysopt_gym.benchmarks.arrivals bytedance-medium --set mnl=25 --share 0.5

A snapshot is rescheduled under each objective. On what it becomes VMs arrive, drawn from the
snapshot's own, that ask for a share of its free cores; each is placed by best fit, and by the
learned potential of hosts. The table has the share of the cores asked for that find no place, as
means over draws and then over snapshots, the same draws for all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit

from ..core.budget import Budget
from ..core.registry import load_contender
from ..datasets.hosts import FRAGMENT_CORES
from ..datasets.vm_rescheduling.instance import ACTIVE, Cluster
from ..datasets.vm_rescheduling.settings import with_settings
from ..envs.vm_rescheduling.dynamics import State, Static, make_state, make_static, place_fits
from ..evaluation.catalog import load
from ..methods.vm_rescheduling.greedy import after

PLANNERS = {
    "none": "", "fragment_rate": "columns", "mixed": "local_search", "admission": "columns",
}  # fmt: skip
PLACING = ("best fit", "potential")


def rejected(
    cluster: Cluster, end: State, draws: int, share: float, by_potential: bool
) -> np.ndarray:
    """Return the rejected % of the cores asked for, float64 [draws].

    Args:
        cluster: a snapshot with objective admission; hosts of two NUMA nodes or one.
        end: its state after a plan.
        draws: sequences of arrivals.
        share: of the free cores before any plan, that the VMs of a sequence ask for.
        by_potential: whether the learned potential places VMs, not best fit.
    """
    static = make_static(cluster)
    counts = np.bincount(cluster.vm_flavor, minlength=len(cluster.flavor_cpu))
    size = cluster.flavor_cpu * cluster.flavor_nodes
    mean = float(counts @ size / cluster.n_vms)
    free = int(cluster.free()[0].sum())
    arrivals = max(1, round(share * free / mean))
    lost = np.empty(draws)
    for draw in range(draws):
        rng = np.random.default_rng([draw, 77])
        flavors = rng.choice(len(counts), arrivals, p=counts / cluster.n_vms)
        there = end._replace(free_cpu=end.free_cpu.copy(), free_mem=end.free_mem.copy())
        out = flavors[_without_place(static, there, flavors, by_potential)]
        lost[draw] = 100.0 * size[out].sum() / size[flavors].sum()
    return lost


@njit(cache=True)
def _without_place(
    static: Static, state: State, flavors: np.ndarray, by_potential: bool
) -> np.ndarray:
    """Mark the VMs that find no place, bool [n]; the state's free room is what is left."""
    out = np.zeros(len(flavors), np.bool_)
    core = static.unit // FRAGMENT_CORES
    for i in range(len(flavors)):
        first = flavors[i] * static.stride
        best, pm, row = -np.inf, -1, 0
        for host in range(len(static.pm_status)):
            a, b = state.free_cpu[host]
            width = static.pm_cores[host, 1] + 1
            now = static.room[static.pm_room[host, 0] + a // core * width + b // core]
            for place in range(static.places[flavors[i]]):
                if static.pm_status[host] != ACTIVE or not place_fits(
                    static, state, flavors[i], host, place
                ):
                    continue
                c, d = static.place_cpu[first + place]
                at = static.pm_room[host, 0] + (a - c) // core * width + (b - d) // core
                left = (a - c if c > 0 else 0) + (b - d if d > 0 else 0)
                score = float(static.room[at] - now) if by_potential else -float(left)
                if score > best:
                    best, pm, row = score, host, first + place
        if pm < 0:
            out[i] = True
            continue
        for node in range(2):
            state.free_cpu[pm, node] -= static.place_cpu[row, node]
            state.free_mem[pm, node] -= static.place_mem[row, node]
    return out


def planned(cluster: Cluster, objective: str, seconds: float) -> State:
    """Return the state of a cluster after it was rescheduled for an objective.

    Args:
        cluster: the snapshot.
        objective: a key of PLANNERS.
        seconds: that the planner may take.
    """
    static = make_static(cluster)
    start = make_state(cluster, static)
    if not PLANNERS[objective]:
        return start
    solve = load_contender(Cluster.FAMILY, PLANNERS[objective]).object
    task = with_settings(cluster, {"objective": objective})
    return after(static, start, solve(task, Budget(seconds), 0).actions)


def table(clusters: Sequence[Cluster], draws: int, share: float, seconds: float) -> Iterator[str]:
    """Yield the rows of a Markdown table.

    Args:
        clusters: the snapshots.
        draws: sequences of arrivals on each.
        share: of the free cores, that a sequence asks for.
        seconds: of each planner's budget.
    """
    clusters = [with_settings(one, {"objective": "admission"}) for one in clusters]
    lost = {
        objective: np.array(
            [
                [rejected(one, end, draws, share, by).mean() for by in (False, True)]
                for one in clusters
                for end in [planned(one, objective, seconds)]
            ]
        )
        for objective in PLANNERS
    }
    yield "| rescheduled for | by | " + " | ".join(f"rejected %, {by}" for by in PLACING) + " |"
    yield "|---|---|---:|---:|"
    for objective, values in lost.items():
        cells = []
        for column in range(len(PLACING)):
            more = values[:, column] - lost["admission"][:, column]
            paired = "" if objective == "admission" else f" ({more.mean():+.2f}{_error(more)})"
            cells.append(f"{values[:, column].mean():.2f}{paired}")
        yield f"| {objective} | {PLANNERS[objective]} | " + " | ".join(cells) + " |"


def _error(differences: np.ndarray) -> str:
    """Return half of the 95 % interval of a mean over snapshots, as text; nothing for one."""
    if len(differences) < 2:
        return ""
    return f" ± {1.96 * differences.std(ddof=1) / len(differences) ** 0.5:.2f}"


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("instances", help="a set, one instance of it, or a file")
    parser.add_argument("--count", type=int, default=4, help="snapshots of the set")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the snapshots")
    parser.add_argument("--draws", type=int, default=20, help="sequences of arrivals on each")
    parser.add_argument("--share", type=float, default=0.8, help="of the free cores asked for")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each planner")
    arguments = parser.parse_args()
    found = load(Cluster.FAMILY, arguments.instances, arguments.set)[1]
    for line in table(
        found[: arguments.count], arguments.draws, arguments.share, arguments.seconds
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main()
