"""Measure how much faster environments are stepped together than one after the other.

In seconds of CPU of one process, spent in `step` alone, by random legal actions, resets of lanes
that ended included. A step is an action of one lane. The reference is Gymnasium's SyncVectorEnv of
32 single environments in the same run.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

from ..core.contracts import Throughput
from ..core.registry import load_problem
from ..envs.vector import draw_masked
from .timing import Run, beside

LANES, MANY = 32, 256
SECONDS = 0.5  # of CPU, of each run
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "vm_rescheduling, small:train": ("vm_rescheduling", {"instances": "small:train"}),
    "vm_rescheduling, lookalike:val": ("vm_rescheduling", {"instances": "lookalike:val"}),
    "memory_mapping, small:train": ("memory_mapping", {"instances": "small:train"}),
    "sequence_design, ehrlich:small": ("sequence_design", {"instances": "ehrlich:small"}),
    "federated_lr, curves:val": ("federated_lr", {"instances": "curves:val"}),
    "vm_allocation, medium-95:val": ("vm_allocation", {"instances": "medium-95:val"}),
    "vm_allocation, medium-95:val, 50 moves an hour": (
        "vm_allocation",
        {"instances": "medium-95:val", "settings": {"moves_per_hour": "50"}},
    ),
}


def measure() -> list[Throughput]:
    """Measure the throughputs."""
    return [row for task in TASKS for row in _measure_task(task)]


def _measure_task(task: str) -> list[Throughput]:
    family, arguments = TASKS[task]
    env_id = load_problem(family).env_id
    single = gym.make(env_id, **arguments).unwrapped

    def lanes(mode: str, count: int) -> Run:
        return _per_second(
            gym.make_vec(env_id, num_envs=count, vectorization_mode=mode, **arguments), count
        )

    runs = {
        f"{task}, env.step": _per_second(_OneLane(single), 1),
        f"{task}, vector_entry_point, {LANES} lanes": lanes("vector_entry_point", LANES),
        f"{task}, vector_entry_point, {MANY} lanes": lanes("vector_entry_point", MANY),
    }
    return beside(runs, "steps/s", f"SyncVectorEnv, {LANES} lanes", lanes("sync", LANES))


class _OneLane:
    """A single environment, reset where it ended, with masks as of one lane."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env, self._ended = env, False

    def reset(self, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._lane(self._env.reset(seed=seed)[0]), {}

    def step(self, actions: np.ndarray) -> tuple[dict[str, Any], Any, Any, Any, Any]:
        if self._ended:
            self._ended = False
            return self.reset(seed=0)[0], 0.0, False, False, {}
        observation, reward, self._ended, truncated, info = self._env.step(actions[0])
        return self._lane(observation), reward, self._ended, truncated, info

    def _lane(self, observation: dict[str, Any]) -> dict[str, Any]:
        return {"action_mask": observation["action_mask"][None]}


def _per_second(env: Any, lanes: int) -> Run:
    """Return a function that steps the environment on and returns its steps per second."""
    rng = np.random.default_rng(0)
    masks = [env.reset(seed=0)[0]["action_mask"]]

    def run() -> float:
        spent, steps = 0.0, 0
        while spent < SECONDS:
            actions = draw_masked(rng, masks[0])
            started = time.process_time()
            observation = env.step(actions)[0]
            spent += time.process_time() - started
            masks[0] = observation["action_mask"]
            steps += lanes
        return steps / spent

    return run
