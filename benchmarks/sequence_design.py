"""Measure the speed of the sequence-design environment.

In seconds of CPU of one process, so that other jobs on the machine count little: the batched core,
1,024 sequences built side by side of random legal letters on DNA 8-mers (the shape of TF-Bind-8),
with masks, and the proxy's value of every finished design; the vectorized environment with as many
lanes, with observations and infos, whole episodes of 128 designs; and `env.step` of one environment
with observation, mask and info. A step is a letter of one lane. The reference is the batched core
in NumPy alone, with its proxy as dense products.
"""

from __future__ import annotations

import time

import numpy as np

from ..core.contracts import Throughput
from ..datasets.sequence_design.instance import DesignTask, make_task
from ..envs.sequence_design.dynamics import append, append_mask
from ..envs.sequence_design.env import SequenceDesignEnv
from ..envs.sequence_design.proxy import Ensemble, Members, MotifNetworks, reference_proxy
from ..envs.sequence_design.vector_env import SequenceDesignVectorEnv
from .timing import Run, beside

LANES, LENGTH = 1024, 8
BATCHES = 16
PLAIN = "the batched core in NumPy alone, in this run"


def measure() -> list[Throughput]:
    """Measure the throughputs."""
    task = _task()
    proxy = reference_proxy(task)
    runs: dict[str, Run] = {
        f"batched construction of DNA 8-mers, {LANES} lanes, mask and proxy included": (
            lambda: _core_per_second(task, proxy)
        ),
        f"VectorEnv.step, {LANES} lanes, DNA 8-mers, proxy included": (
            lambda: _vector_env_per_second(task, proxy)
        ),
        "env.step, DNA 8-mers, proxy included": lambda: _env_per_second(task, proxy),
    }
    return beside(runs, "steps/s", PLAIN, lambda: _plain_per_second(task, proxy))


def _task() -> DesignTask:
    """Make random DNA 8-mers that score by a random weight per letter, without any data."""
    rng = np.random.default_rng(0)
    tokens = np.unique(rng.integers(0, 4, (5000, LENGTH)), axis=0)
    weights = rng.normal(size=(LENGTH, 4))
    scores = weights[np.arange(LENGTH), tokens].sum(axis=1)
    return make_task("8-mers", "ACGT", tokens, scores, {"landscape": "measured"})


def _core_per_second(task: DesignTask, proxy: Ensemble) -> float:
    rng = np.random.default_rng(0)
    tokens = np.empty((LANES, LENGTH), np.int8)
    mask = np.empty((LANES, task.letters), np.int8)
    started = time.process_time()
    for _ in range(BATCHES):
        for place in range(LENGTH):
            append_mask(tokens, place, task.banned, mask)
            chances = rng.random((LANES, task.letters), np.float32) * mask
            append(tokens, place, chances.argmax(axis=1), task.banned)
        proxy.pessimistic(tokens, 1.0)
    return BATCHES * LANES * LENGTH / (time.process_time() - started)


def _vector_env_per_second(task: DesignTask, proxy: Ensemble) -> float:
    env = SequenceDesignVectorEnv(LANES, task, proxy=proxy)
    letters = np.random.default_rng(0).integers(0, 4, (task.batch_size * LENGTH, LANES))
    env.reset(seed=0)
    started = time.process_time()
    for actions in letters:
        env.step(actions)
    return letters.size / (time.process_time() - started)


def _env_per_second(task: DesignTask, proxy: Ensemble) -> float:
    env = SequenceDesignEnv(task, proxy=proxy)
    actions = np.random.default_rng(0).integers(0, 4, task.batch_size * LENGTH).tolist()
    env.reset(seed=0)
    started = time.process_time()
    for action in actions:
        env.step(action)
    return len(actions) / (time.process_time() - started)


def _plain_per_second(task: DesignTask, proxy: Ensemble) -> float:
    rng = np.random.default_rng(0)
    hot = np.eye(task.letters, dtype=np.float32)
    tokens = np.empty((LANES, LENGTH), np.int8)
    started = time.process_time()
    for _ in range(BATCHES):
        for place in range(LENGTH):
            mask = ~task.banned[tokens[:, place - 1]] if place else 1
            chances = rng.random((LANES, task.letters), np.float32) * mask
            tokens[:, place] = chances.argmax(axis=1)
        each = np.concatenate([_dense(kind, hot[tokens]) for kind in proxy.kinds])
        mean = proxy.weights @ each
        proxy.scale.to_scaled(mean - np.sqrt(proxy.weights @ (each - mean) ** 2))
    return BATCHES * LANES * LENGTH / (time.process_time() - started)


def _dense(kind: Members, letters: np.ndarray) -> np.ndarray:
    """Return predictions [E, n] for letters [n, L, V], computed as products of whole arrays."""
    if isinstance(kind, MotifNetworks):
        filters, bias, last, last_bias = kind.weights
        before = kind.reach // 2
        around = np.pad(letters, ((0, 0), (before, before), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(around, kind.reach, axis=1)
        rows = windows.transpose(0, 1, 3, 2).reshape(-1, filters.shape[1])
        matches = (rows @ filters).reshape(len(filters), len(letters), -1, filters.shape[2])
        matches = np.maximum(matches + bias[:, None, None], 0.0)
        root = np.float32(np.sqrt(matches.shape[2]))
        hidden = matches.sum(axis=2) / root if kind.total else matches.max(axis=2)
    else:
        first, first_bias, second, second_bias, last, last_bias = kind.weights
        hidden = np.maximum(letters.reshape(len(letters), -1) @ first + first_bias[:, None], 0.0)
        hidden = np.maximum(hidden @ second + second_bias[:, None], 0.0)
    values: np.ndarray = (hidden @ last[:, :, None])[:, :, 0] + last_bias[:, None]
    return values
