"""Keep batches of large observations within a fixed room.

An observation of 30,000 machines takes 10 MB, so the 1,024 steps of a usual batch would take 10 GB,
and a pass of the network through a minibatch of 128 fifty more. The sizes that fit are the same on
every machine, so that a run can go on elsewhere.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym

from ..core.notes import note

BATCH = 2**29  # bytes of the observations that are collected before the next update
PASS = 2**30  # bytes of a pass through the network, forward and back
# Bytes of a pass per byte of the observations: 43 measured with the network of vm_rescheduling at
# width 32, on 3,000 machines.
PASS_PER_BYTE = 45


def bytes_of(space: gym.Space[Any]) -> int:
    """Return the size of an observation, in bytes; parts without a fixed shape count nothing."""
    if isinstance(space, gym.spaces.Dict):
        return sum(map(bytes_of, space.values()))
    if isinstance(space, gym.spaces.Tuple):
        return sum(map(bytes_of, space))
    if space.shape is None or space.dtype is None:
        return 0
    return math.prod(space.shape) * space.dtype.itemsize


def rows_of_a_pass(size: int) -> int:
    """Return how many observations go through the network at a time, at least 1.

    Args:
        size: bytes of an observation.
    """
    return max(1, PASS // (PASS_PER_BYTE * max(1, size)))


def fit(config: Any, space: gym.Space[Any], place: str) -> None:
    """Lower sizes of an AlgorithmConfig until what they hold fits, and tell of it.

    Args:
        config: RLlib's; it is changed where observations are large.
        space: of the observations.
        place: what notes call the configuration, e.g. "ppo.algorithm".
    """
    size = max(1, bytes_of(space))
    rows, steps = rows_of_a_pass(size), max(1, BATCH // size)
    runners = max(1, config.num_env_runners)
    envs = min(config.num_envs_per_env_runner, rows, max(1, steps // runners))
    most = {"num_envs_per_env_runner": envs}
    if isinstance(config.rollout_fragment_length, int):
        most["rollout_fragment_length"] = max(1, steps // (envs * runners))
    by_parts = isinstance(getattr(config, "minibatch_size", None), int)
    if by_parts:
        most["minibatch_size"] = min(rows, steps)
    most["train_batch_size_per_learner"] = steps if by_parts else rows
    lowered = {key: value for key, value in most.items() if (getattr(config, key) or 0) > value}
    for key, value in lowered.items():
        setattr(config, key, value)
    if lowered:
        said = ", ".join(f"{key} {value:,}" for key, value in lowered.items())
        note(
            f"{place}: an observation takes {size / 1e6:,.1f} MB, so training goes on with {said}, "
            "which need less memory"
        )
