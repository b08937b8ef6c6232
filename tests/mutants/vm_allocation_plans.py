"""What the judge is given of vm_allocation: traces on three small hosts whose events fall on
chances to migrate, the end of the warm-up and the horizon, and drawn worlds; plans that are legal,
end early, go on too long, or have one random action.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from recorded_worlds import recorded
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.vm_allocation.generator import generate
from sysopt_gym.datasets.vm_allocation.instance import DataCenter
from sysopt_gym.datasets.vm_allocation.settings import with_settings
from sysopt_gym.envs.vm_allocation.env import VMAllocationEnv

Case = tuple[str, DataCenter, np.ndarray, World]
BEAT_S = 300  # all times of the traces are multiples
MOST_ROWS = 20  # that random actions choose from
HORIZON_H, WARM_UP_H, PERIOD_MIN = 1.0, 1 / 6, 5  # the warm-up ends at the second chance


def cases() -> Iterator[Case]:
    """The judge's cases: name, instance, plan, world."""
    for seed in range(60):
        yield from _plans_of("trace", trace(seed), seed)
    for seed in range(12):
        yield from _plans_of("drawn", drawn(seed), seed)


def hosts(seed: int) -> DataCenter:
    """Three hosts, the last of one node, and flavors that fill a node, its memory, or two nodes.

    In every fourth data center each flavor fills its nodes, so that all rows of VMs are taken.
    """
    flavor_cpu = (16, 16, 16, 16, 16) if seed % 4 == 3 else (4, 16, 6, 4, 10)
    flavor_mem, nodes = (8, 16, 8, 64, 8), (1, 1, 2, 1, 2)
    count = len(nodes)
    center = generate({"pms": "3"}, seed)
    return dataclasses.replace(
        center,
        numa_cpu=np.array([[16, 16], [16, 12], [16, 0]]),
        numa_mem=np.array([[64, 64], [64, 48], [64, 0]]) * 1024,
        cpu_per_core=1,
        flavor_names=tuple("abcde"[:count]),
        flavor_cpu=np.array(flavor_cpu),
        flavor_mem=np.array(flavor_mem) * 1024,
        flavor_nodes=np.array(nodes),
        flavor_share=np.full(count, 1 / count),
        law_share=np.tile(center.law_share[:1], (count, 1)),
        start_vms=0,
        horizon_h=HORIZON_H,
        warm_up_h=WARM_UP_H * (seed % 3 > 0),
        moves_per_hour=(0, 12, 36)[seed % 3],
        period_min=PERIOD_MIN,
        move_cost_h=0.5 * (seed % 2),
    )


def trace(seed: int) -> DataCenter:
    """Those hosts with a random trace, a part of whose VMs are there at the start."""
    rng = np.random.default_rng([seed, 1])
    center, count, starts = hosts(seed), 16, int(rng.integers(4))
    beats = round(HORIZON_H * 3600) // BEAT_S
    arrive = np.sort(rng.integers(0, beats + 1, count)) * BEAT_S
    arrive[:starts] = 0
    stays = rng.random(count) < 0.2
    leave = arrive + rng.integers(1, beats, count) * BEAT_S
    events = [(int(at), rng.random() + (request < starts) - 1, request)
              for request, at in enumerate(arrive)]  # fmt: skip
    events.sort()
    number = {request: new for new, (_, _, request) in enumerate(events)}
    times = [(at, tie, number[request]) for at, tie, request in events]
    times += [(int(leave[request]), rng.random(), number[request])
              for request in range(count) if not stays[request]]  # fmt: skip
    # Events of one time in any order, but that VMs of the start come first.
    times.sort(key=lambda event: (event[0], event[2] >= starts or event[0] > 0, event[1]))
    place = np.full(count, -1)
    place[:starts] = rng.integers(-1, 5, starts)
    return dataclasses.replace(
        center,
        event_s=np.array([at for at, _, _ in times]),
        event_request=np.array([request for _, _, request in times]),
        request_flavor=rng.integers(0, 5, count),
        request_set=rng.choice([-1, -1, 0, 1], count),
        request_pinned=rng.random(count) < 0.25,
        request_place=place,
        trace_starts=starts,
    )


def drawn(seed: int) -> DataCenter:
    """Two hosts of the usual size, with batches, sets, pins and VMs there at the start."""
    rich = {"pms": "2", "batch_mean": "2", "sets": "0.6", "pinned": "0.2", "law": "classes"}
    values = {"horizon_h": "1", "warm_up_h": "0.25", "moves_per_hour": "2", "period_min": "30"}
    center = with_settings(generate(rich, seed), values)
    return recorded(center, seed) if seed % 2 else center


def walk(center: DataCenter, seed: int) -> list[int]:
    """A random legal plan to the end of the world."""
    env, rng = VMAllocationEnv(center), np.random.default_rng([seed, 2])
    observation, _ = env.reset(seed=seed)
    plan: list[int] = []
    ended = False
    while not ended:
        legal = np.flatnonzero(observation["action_mask"])
        # Stops are rare, so that chances to migrate are played to their end.
        if center.n_slots in legal[1:] and rng.random() < 0.8:
            legal = legal[:-1]
        plan.append(int(rng.choice(legal)))
        observation, _, ended, _, _ = env.step(plan[-1])
    return plan


def _plans_of(name: str, center: DataCenter, seed: int) -> Iterator[Case]:
    """A legal plan, what comes of its beginnings, and of a random action behind each of them."""
    rng, world = np.random.default_rng([seed, 3]), World(seed)
    plan = walk(center, seed)
    most = max(2 * center.n_pms, min(center.n_slots, MOST_ROWS) + 1) + 2
    plans = {"legal": plan, "one action more": [*plan, 0], "two more": [*plan, 0, 0]}
    for cut in range(len(plan)):
        plans[f"cut at {cut}"] = plan[:cut]
        for way in range(3):
            first, then = int(rng.integers(-2, most)), int(rng.integers(2 * center.n_pms))
            plans[f"a random action at {cut}, {way}"] = [*plan[:cut], first]
            plans[f"two random actions at {cut}, {way}"] = [*plan[:cut], first, then]
    for how, actions in plans.items():
        yield f"{name} {seed}, {how}", center, np.array(actions, np.int64), world
