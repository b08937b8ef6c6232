"""Measure how a Ray cluster scales: `python -m sysopt_gym.benchmarks.ray_cluster`.

Clusters of one, two and three nodes of one core each, all on this machine, play the same cells. The
contender sleeps, because the nodes have the cores of one machine between them: what is measured is
what starting, sending and judging cost. The reference is one node of the same run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from ..core import registry
from ..core.budget import Budget
from ..core.registry import Entry, load_problem
from ..core.user_code import file_hash
from ..evaluation.cells import Entry as Instance
from ..evaluation.cells import Folder
from ..evaluation.runner import Plan, play

FAMILY, NAME = "vm_rescheduling", "sleeper"
SLEEPER = """
import time
from sysopt_gym.core.solution import Solution

def sleeper(snapshot, budget, seed):
    time.sleep(budget.seconds)
    return Solution([])
"""


def measure(nodes: int, cells: int, seconds: float, folder: Path) -> float:
    """Return the seconds that a cluster takes for a comparison, without starting the cluster.

    Args:
        nodes: how many nodes of one core play.
        cells: how many cells they play.
        seconds: what a cell takes.
        folder: an empty folder, for the contender and the rows.
    """
    from ray.cluster_utils import Cluster

    file = folder / "sleeper.py"
    file.write_text(SLEEPER)
    registry.give(FAMILY, NAME, Entry(f"{file}:sleeper", digest=file_hash(file)))
    snapshot = load_problem(FAMILY).warm_up_instance()
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1)
        instances, budgets = [Instance(FAMILY, snapshot, {})], {FAMILY: Budget(seconds)}
        plan = Plan(instances, {FAMILY: [NAME]}, budgets, range(cells), ray=cluster.address)
        began = time.perf_counter()
        rows = play(plan, Folder(folder / "rows"), quiet=True)
        took = time.perf_counter() - began
    finally:
        cluster.shutdown()
    failed = [row.error or row.status for row in rows if row.status == "crashed"]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(rows)} cells failed: {failed[0]}")
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each cell")
    given = parser.parse_args()
    alone = None
    for nodes in (1, 2, 3):
        with tempfile.TemporaryDirectory() as folder:
            took = measure(nodes, given.cells, given.seconds, Path(folder))
        alone = alone or took
        print(
            f"{nodes} node(s): {given.cells} cells of {given.seconds:g} s in {took:.1f} s, "
            f"{given.cells / took:.2f} cells/s, {alone / took:.2f} times one node's"
        )


if __name__ == "__main__":
    main()
