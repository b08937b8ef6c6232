"""Measure VM allocation: whole worlds in compiled code, the environment, and policies' decisions.

    python -m sysopt_gym.benchmarks.vm_allocation

All in CPU seconds of one process. A world in compiled code is played by a potential that looks at
every place (methods/vm_allocation/playing.py); the environment by first fit, with the observation
of each step; a policy decides on the observations of a world that it plays itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np

from ..core.budget import Budget
from ..core.contracts import Policy
from ..core.registry import contender_names, load_contender, load_problem
from ..datasets.hosts import host_potential
from ..datasets.vm_allocation.arrivals import requests_of
from ..datasets.vm_allocation.generator import generate
from ..datasets.vm_allocation.instance import DataCenter
from ..datasets.vm_allocation.settings import with_settings
from ..envs.host_potential import table_of
from ..methods.vm_allocation.playing import packed_world, play_table

FAMILY = "vm_allocation"
SIZES = (100, 1000, 10_000)
SECONDS = 1.0  # of CPU, of each measurement
REQUESTS = 12_000  # of a world
AT_PMS = 1000
SKIPPED = 20  # decisions, in which code is compiled and memory is touched for the first time


def center_of(pms: int, **values: str) -> DataCenter:
    """Return a data center whose worlds have about REQUESTS requests after the start's VMs.

    Args:
        pms: number of hosts.
        values: further settings.
    """
    center = generate({"pms": str(pms)}, 3)
    hours = max(1 / 60, REQUESTS / center.arrivals_per_h)
    return with_settings(center, {"horizon_h": f"{hours:.6g}"} | values)


def per_second(work: Callable[[], int]) -> float:
    """Return how much a function gets done in a CPU second.

    Args:
        work: returns how much it has done in a call.
    """
    work()
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < SECONDS:
        done += work()
    return done / spent


def bare(center: DataCenter) -> float:
    """Return requests played in a CPU second by compiled code, without the drawing of requests."""
    table = table_of(host_potential(), int(center.numa_cpu.max()))
    start = packed_world(center, 1)
    count = int((requests_of(center, 1).arrive_s < center.horizon_s).sum())

    def work() -> int:
        play_table(start.copy(), table)
        return count

    return per_second(work)


def steps(center: DataCenter) -> float:
    """Return steps of the environment in a CPU second, by first fit and with resets."""
    env = gym.make(load_problem(FAMILY).env_id, instances=center, disable_env_checker=True)
    observation = [env.reset(seed=0)[0]]

    def work() -> int:
        for _ in range(100):
            observation[0], _, ended, _, _ = env.step(int(observation[0]["action_mask"].argmax()))
            if ended:
                observation[0] = env.reset(seed=0)[0]
        return 100

    return per_second(work)


def frames(center: DataCenter) -> float:
    """Return pictures drawn in a CPU second, of a world a third through."""
    env = gym.make(
        load_problem(FAMILY).env_id, instances=center, disable_env_checker=True,
        render_mode="rgb_array",
    )  # fmt: skip
    env.reset(seed=0)
    for _ in range(REQUESTS // 3):
        env.unwrapped.advance(int(env.unwrapped.action_masks().argmax()))  # type: ignore[attr-defined]

    def work() -> int:
        env.render()
        return 1

    return per_second(work)


def decisions(policy: Policy, center: DataCenter) -> tuple[float, float]:
    """Return the mean and the 99th percentile of a policy's decisions, in milliseconds.

    Args:
        policy: plays without migrations.
        center: the data center.
    """
    problem = load_problem(FAMILY)
    env = gym.make(problem.env_id, instances=center, disable_env_checker=True)
    observation, info = env.reset(seed=0)
    policy.reset(problem.policy_view(problem.contender_view(center)), Budget(1e4), 0)
    taken: list[float] = []
    ended = False
    while not ended and sum(taken[SKIPPED:]) < SECONDS:
        began = time.process_time()
        action = policy.act(observation, info)
        taken.append(time.process_time() - began)
        observation, _, ended, _, info = env.step(action)
    counted = 1e3 * np.array(taken[SKIPPED:])
    return float(counted.mean()), float(np.percentile(counted, 99))


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--contenders", nargs="*", default=contender_names(FAMILY, form="player"))
    arguments = parser.parse_args()
    print(
        "| PMs | requests/s, compiled | steps/s, environment | pictures/s |\n|---:|---:|---:|---:|"
    )
    for size in arguments.sizes:
        center = center_of(size)
        speeds = (bare(center), steps(center), frames(center))
        print(f"| {size:,} | {' | '.join(f'{speed:,.3g}' for speed in speeds)} |", flush=True)
    print(f"\n| a decision at {AT_PMS:,} PMs | mean, ms | 99th percentile |\n|---|---:|---:|")
    center = center_of(AT_PMS, lifetimes="class")
    for name in arguments.contenders:
        mean, most = decisions(load_contender(FAMILY, name).object(), center)
        print(f"| {name} | {mean:.3f} | {most:.3f} |", flush=True)


if __name__ == "__main__":
    main()
