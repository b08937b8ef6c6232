"""What the judge is given of vm_rescheduling: tiny clusters of every objective, mode and
constraint; plans that are legal, random, of an odd length, or break one constraint each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_rescheduling.instance import DEFAULT_TASK, OBJECTIVES, Cluster
from sysopt_gym.envs.vm_rescheduling.dynamics import FRAGMENT, FREE, make_state, make_static
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from tiny_clusters import make_cluster
from wide_clusters import make_wide_cluster

Case = tuple[str, Cluster, np.ndarray, World]
STILL = World()


def cases() -> Iterator[Case]:
    """The judge's cases, those that tell most of the rules first: name, instance, plan, world."""
    yield from _breaking()
    for seed in range(40):
        yield from _whole_slots(seed)
    for seed in range(40):
        yield from _still(seed)
    for seed in range(30):
        yield from _live(seed)
    for seed in range(16):
        yield from _wide(seed)


def _case(name: str, cluster: Cluster, plies: list[int], world: World = STILL) -> Case:
    return name, cluster, np.array(plies, np.int64), world


# --- One constraint at a time, on a cluster made by hand -----------------------------------------

# Hosts a, b, c, d, the first two in one rack; two nodes of 32 cores each, one node in d. VMs: v0 on
# a/0, v1 on b/0, v2 on c/0 (pinned), v3 on both nodes of c, v4 fills a/1, v5 on c/1.
A0, A1, B0, B1, C0, C1, D0, D1 = range(8)


def by_hand(**changes: Any) -> Cluster:
    """That cluster; sets: v0 and v1 by host, v2 and v1 by rack."""
    fields: dict[str, Any] = {
        "name": "by-hand",
        "pm_ids": tuple("abcd"),
        "pm_status": np.zeros(4, np.int8),
        "pm_rack": np.array([0, 0, 1, 2]),
        "numa_cpu": np.array([[32, 32], [32, 32], [32, 32], [32, 0]]),
        "numa_mem": np.array([[64, 64], [64, 64], [64, 64], [64, 0]]) * 1024,
        "flavor_names": ("small", "node", "double", "roomy"),
        "flavor_cpu": np.array([4, 32, 8, 2]),
        "flavor_mem": np.array([4, 4, 4, 64]) * 1024,
        "flavor_nodes": np.array([1, 1, 2, 1]),
        "vm_ids": ("v0", "v1", "v2", "v3", "v4", "v5"),
        "vm_flavor": np.array([0, 0, 0, 2, 1, 0]),
        "vm_pm": np.array([0, 1, 2, 2, 0, 2]),
        "vm_numa": np.array([0, 0, 0, 0, 1, 1]),
        "vm_pinned": np.array([False, False, True, False, False, False]),
        "set_start": np.array([0, 2, 4]),
        "set_vms": np.array([0, 1, 2, 1]),
        "set_by_rack": np.array([False, True]),
        **DEFAULT_TASK,
        "mnl": 3,
        "churn_per_min": 0.0,
    }
    return Cluster(**(fields | changes))


def _breaking() -> Iterator[Case]:
    """Plans that break a constraint, or only just keep it."""
    none = np.zeros(0, np.int64)
    alone = {"set_start": np.array([0]), "set_vms": none, "set_by_rack": none.astype(np.bool_)}

    def status(*codes: int) -> dict[str, Any]:
        return {"pm_status": np.array(codes, np.int8)}

    def cpu_of_b(first: int, second: int) -> dict[str, Any]:
        return alone | {"numa_cpu": np.array([[32, 32], [first, second], [32, 32], [32, 0]])}

    def mem_of_b(first: int, second: int) -> dict[str, Any]:
        rows = [[65536, 65536], [first, second], [65536, 65536], [65536, 0]]
        return alone | {"numa_mem": np.array(rows)}

    weightless = {  # v5 needs nothing at all
        "flavor_names": tuple("abcde"),
        "flavor_cpu": np.array([4, 32, 8, 2, 0]),
        "flavor_mem": np.array([4, 4, 4, 64, 0]) * 1024,
        "flavor_nodes": np.array([1, 1, 2, 1, 1]),
        "vm_flavor": np.array([0, 0, 0, 2, 1, 4]),
    }
    roomy = {
        "vm_flavor": np.array([0, 0, 0, 2, 1, 3]),
        "numa_mem": np.array([[64, 64], [64, 64], [64, 72], [64, 0]]) * 1024,
    }
    two_racks = {"pm_rack": np.array([0, 0, 1, 1])}
    both = {"set_vms": np.array([0, 1, 0, 5])}  # v0 is in both sets
    drain = {"objective": "drain", "drain_pms": np.array([2])}
    goal = {"objective": "moves_to_goal"}
    mixed = {"objective": "mixed"}
    full = {"numa_cpu": np.array([[4, 32], [4, 0], [12, 12], [0, 0]])}
    filled = {"numa_mem": np.array([[4, 4], [4, 0], [8, 8], [0, 0]]) * 1024}
    every: list[tuple[str, dict[str, Any], list[int]]] = [
        ("nothing", {}, []),
        ("stop", {}, [6]),
        ("stop by a larger number", {}, [9]),
        ("plies after the stop", {}, [0, C0, 6, 1]),
        ("a move after the stop", {}, [6, 0, 0, C0]),
        ("negative VM", {}, [0, C0, -1, B0]),
        ("negative destination", {}, [0, -1]),
        ("destination beyond the last", {}, [0, 8]),
        ("the last destination", alone, [0, D1]),
        ("no destination", {}, [0, C0, 1]),
        ("too long", {"mnl": 1}, [0, C0, 3, B0]),
        ("as long as allowed", {"mnl": 2}, [0, C0, 3, B0]),
        ("one more than allowed", {"mnl": 2}, [0, C0, 3, B0, 4, B0]),
        ("CPU lacks", {}, [1, A1]),
        ("CPU fits exactly", alone, [4, D0]),
        ("CPU of one node fits exactly", cpu_of_b(32, 4), [0, B1]),
        ("CPU lacks by one", cpu_of_b(32, 3), [0, B1]),
        ("memory fits exactly", mem_of_b(65536, 4096), [0, B1]),
        ("memory lacks by one", mem_of_b(65536, 4095), [0, B1]),
        ("all memory of a node", alone | roomy, [5, D0]),
        ("both nodes fit exactly", cpu_of_b(12, 8), [3, B0]),
        ("the first node lacks CPU", cpu_of_b(11, 8), [3, B0]),
        ("the second node lacks CPU", cpu_of_b(12, 7), [3, B0]),
        ("the second node lacks memory", mem_of_b(65536, 4095), [3, B0]),
        ("pinned", alone, [2, B0]),
        ("of a pinned one's set", {}, [1, D0]),
        ("set on one host", {}, [0, B0]),
        ("set on one host, other node", {}, [0, B1]),
        ("set by host in one rack", {}, [0, C0, 1, A0]),
        ("set in one rack", {}, [1, C1]),
        ("set in one rack, another host", two_racks, [1, D0]),
        ("set by host, another host of the rack", two_racks, [0, D0, 5, D0]),
        ("within its own rack", {}, [1, A0]),
        ("member of two sets", both, [0, C0]),
        ("member of two sets, second by host", both | {"set_by_rack": np.array([True, False])},
         [0, C0]),
        ("a member makes way", {}, [1, D0, 0, B0]),
        ("a member comes close", {}, [0, C0, 1, A1]),
        ("another node of its host", {}, [1, B1]),
        ("where it is", {}, [0, A0]),
        ("there and back", {}, [0, C0, 0, A0]),
        ("both nodes addressed by the second", {}, [3, B1]),
        ("no second node", alone, [0, D1]),
        ("no second node for both", alone, [3, D0]),
        ("no second node for a VM that needs nothing", alone | weightless, [5, D1]),
        ("out of an outage", status(2, 0, 0, 0), [0, C0]),
        ("within an outage", status(0, 0, 2, 0), [5, C0]),
        ("into an outage", status(0, 0, 2, 0), [0, C0]),
        ("out of a disabled host", status(1, 0, 0, 0), [0, C0]),
        ("within a disabled host", status(0, 0, 1, 0), [5, C0]),
        ("into a disabled host", status(0, 0, 1, 0), [0, C0]),
        ("cap of the destination", {"pm_move_cap": 1}, [0, C0, 5, B0]),
        ("cap of the source", {"pm_move_cap": 1}, [0, C0, 4, B0]),
        ("cap of both ends", {"pm_move_cap": 1}, [0, C0, 4, D0]),
        ("cap just kept", {"pm_move_cap": 2}, [0, C0, 3, B0]),
        ("cap after a change of node", {"pm_move_cap": 2}, [1, B1, 1, D0]),
        ("cap spent by changes of node", {"pm_move_cap": 2}, [1, B1, 1, B0, 3, B0]),
        ("cap of one, change of node", {"pm_move_cap": 1}, [1, B1, 4, D0]),
        ("drain", drain, [3, B0, 5, B0]),
        ("drain, a VM comes in", drain, [0, C0]),
        ("drain, a change of node", drain | alone, [5, C0]),
        ("drain two hosts", drain | {"drain_pms": np.array([0, 2])}, [0, C0, 3, B0]),
        ("drain a disabled host", drain | status(0, 0, 1, 0), [3, B0]),
        ("the goal is reached at once", goal | {"goal_rate": 1.0}, [0, C0]),
        ("the goal is reached at once, no move", goal | {"goal_rate": 1.0}, []),
        ("the goal is reached at once, a stop", goal | {"goal_rate": 1.0}, [6]),
        ("the goal is never reached", goal | {"goal_rate": 0.0}, [0, C0]),
        ("mixed", mixed | {"weights": np.array([1.0, 2.0, 4.0])}, [0, C0, 4, D0]),
        ("mixed, the memory alone", mixed | {"weights": np.array([0.0, 0.0, 3.0])}, [4, D0]),
        ("mixed, large slots alone", mixed | {"weights": np.array([0.0, 2.0, 0.0])}, [4, B0]),
        ("no CPU is free", mixed | full, []),
        ("no CPU is free, no legal move", full, [6]),
        ("no memory is free", mixed | filled, []),
    ]  # fmt: skip
    for name, changes, plies in every:
        yield _case(name, by_hand(**changes), plies)
        yield _case(f"{name}, live", by_hand(**changes, mode="live"), plies, World(3, 5.0))


def _whole_slots(seed: int) -> Iterator[Case]:
    """Goals that are missed by a whole number of slots, but for an error of rounding."""
    cluster = make_cluster(seed, cpu_per_core=1 + seed % 2)
    static = make_static(cluster)
    totals = make_state(cluster, static).totals
    fragments, free = int(totals[FRAGMENT]), int(totals[FREE])
    for slots in range(1, fragments // static.unit):
        goal = (fragments - slots * static.unit) / free
        if (fragments / free - goal) * free / static.unit > slots:
            one = dataclasses.replace(cluster, objective="moves_to_goal", goal_rate=goal)
            yield _case("whole slots missing", one, [])


def _goals(cluster: Cluster, plies: list[int]) -> Iterator[Cluster]:
    """The cluster with goals that the walk reaches after some of its moves, to the last bit."""
    rates = _rates(cluster, plies)
    for rate in sorted({rates[0], min(rates), rates[len(rates) // 2]}):
        yield dataclasses.replace(cluster, objective="moves_to_goal", goal_rate=rate)


def _rates(cluster: Cluster, plies: list[int]) -> list[float]:
    env = VMReschedulingEnv(cluster)
    _, info = env.reset(options={"instance": cluster})
    rates = [info["fragment_rate"]]
    for ply in plies:
        _, _, _, _, info = env.step(ply)
        rates.append(info["fragment_rate"])
    return rates


# --- Random clusters ---------------------------------------------------------------------------


def walk(cluster: Cluster, seed: int) -> list[int]:
    """A random legal plan, to the end of the episode."""
    env, rng = VMReschedulingEnv(cluster, allow_stop=True), np.random.default_rng(seed)
    observation, _ = env.reset(options={"instance": cluster})
    plies: list[int] = []
    ended = False
    while not ended:
        legal = np.flatnonzero(observation["action_mask"])
        if not observation["phase"][0] and len(legal) > 1:
            legal = legal[legal < cluster.n_vms]
        ply = int(rng.choice(legal))
        observation, _, ended, _, _ = env.step(ply)
        if observation["phase"][0] or ply < cluster.n_vms or len(plies) % 2:
            plies.append(ply)
    return plies


def at_random(cluster: Cluster, rng: np.random.Generator, moves: int) -> list[int]:
    """Random moves, most of them not legal."""
    return [
        ply
        for _ in range(moves)
        for ply in (
            int(rng.integers(cluster.n_vms)),
            int(rng.integers(cluster.stride * cluster.n_pms)),
        )
    ]


def _still(seed: int) -> Iterator[Case]:
    """Legal walks, and one of them with a random move behind each of its beginnings."""
    rng = np.random.default_rng([seed, 1])
    cluster = make_cluster(
        seed, objective=OBJECTIVES[seed % 5], drain_pms=np.array([0, 1]), mnl=4 + seed % 3,
        pm_move_cap=seed % 4, cpu_per_core=1 + seed // 4 % 2, weights=np.array([1.0, 2.0, 3.0]),
    )  # fmt: skip
    plies = walk(cluster, seed)
    yield _case("legal", cluster, plies)
    yield _case("legal, and a stop", cluster, [*plies, cluster.n_vms])
    yield _case("legal, and one move", cluster, [*plies, *at_random(cluster, rng, 1)])
    for moves in range(len(plies) // 2):
        yield _case("a random move", cluster, [*plies[: 2 * moves], *at_random(cluster, rng, 1)])
    for one in _goals(cluster, plies):
        yield _case("to the goal", one, walk(one, seed))
        yield _case("past the goal", one, plies)


def _live(seed: int) -> Iterator[Case]:
    """Long random plans: each move that is not legal is skipped, and each that is counts."""
    rng = np.random.default_rng([seed, 2])
    for elapsed_s in (0.0, 15.0, 90.0):
        cluster = make_cluster(
            seed, objective=OBJECTIVES[seed % 5], drain_pms=np.array([0, 1]), mnl=6 + seed % 20,
            pm_move_cap=3 * (seed % 3), mode="live", churn_per_min=120.0, goal_rate=0.05,
            cpu_per_core=1 + seed // 4 % 2,
        )  # fmt: skip
        plies = walk(dataclasses.replace(cluster, mode="static"), seed)
        world = World(seed + 100, elapsed_s)
        yield _case("live, legal before", cluster, plies, world)
        yield _case("live, random", cluster, at_random(cluster, rng, 80), world)
        yield _case("live, random and a stop", cluster,
                    [*at_random(cluster, rng, 3), cluster.n_vms, *plies], world)  # fmt: skip
        yield _case("live, odd", cluster, at_random(cluster, rng, 2)[:-1], world)


def _wide(seed: int) -> Iterator[Case]:
    """Hosts of many NUMA nodes, and VMs of unequal parts."""
    rng = np.random.default_rng([seed, 3])
    nodes = [(1, 2), (2,), (4,), (1, 2, 4), (8,), (3,)][seed % 6]
    for mode in ("static", "live"):
        cluster = make_wide_cluster(
            seed,
            nodes,
            mnl=5,
            objective=OBJECTIVES[(0, 1, 4)[seed % 3]],
            pm_move_cap=seed % 3,
            mode=mode,
        )
        world = World(seed, 20.0 * (seed % 3)) if mode == "live" else STILL
        plies = walk(dataclasses.replace(cluster, mode="static"), seed)
        yield _case("wide, legal", cluster, plies, world)
        yield _case("wide, random", cluster, at_random(cluster, rng, 40), world)
        for moves in range(len(plies) // 2):
            yield _case("wide, a random move", cluster,
                        [*plies[: 2 * moves], *at_random(cluster, rng, 1)], world)  # fmt: skip
