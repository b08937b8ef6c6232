"""What the judge is given of sequence_parallelism: batches of a few sequences on one class of
devices and on two, of one step and of several, with tight memory; random legal plans, plans that
are cut or too long, and plans with one random action.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.sequence_parallelism.generator import generate
from sysopt_gym.datasets.sequence_parallelism.instance import TrainingBatch
from sysopt_gym.envs.sequence_parallelism.env import SequenceParallelismEnv
from sysopt_gym.envs.sequence_parallelism.groups import kinds_of

Case = tuple[str, TrainingBatch, np.ndarray, World]
SHAPES = (
    {"devices": "4", "memory": "27", "context": "2K", "shape": "crawl"},
    {"devices": "8", "context": "32K", "shape": "crawl"},
    {"devices": "2+4", "memory": "18+19", "speed": "1+2.5", "context": "1K", "shape": "crawl"},
    {"devices": "6", "memory": "40", "degrees": "any", "context": "8K", "shape": "crawl"},
    {"devices": "8", "model": "13B", "memory": "60", "context": "16K", "steps": "3"},
)


def cases() -> Iterator[Case]:
    """The judge's cases: name, instance, plan, world."""
    for seed in range(60):
        shape = SHAPES[seed % len(SHAPES)] | {"sequences": str(4 + seed % 9)}
        yield from _plans_of(f"drawn/{seed}", generate(shape, seed), seed)


def _plans_of(name: str, batch: TrainingBatch, seed: int) -> Iterator[Case]:
    rng = np.random.default_rng([seed, 7])
    plan, world = _random_plan(batch, rng), World(0, 0.0)
    yield f"{name}/legal", batch, plan, world
    yield f"{name}/first", batch, _random_plan(batch, rng, 2), world
    yield f"{name}/cut", batch, plan[:-1], world
    yield f"{name}/long", batch, np.append(plan, 0), world
    kinds, limit = kinds_of(batch), int(np.bincount(batch.step).max())
    crowd, steps = np.zeros(len(plan), np.int64), np.sort(batch.step)
    crowd[np.searchsorted(steps, np.arange(batch.n_steps))] = limit + int(kinds.capacity.argmax())
    yield f"{name}/crowd", batch, crowd, world
    top = limit * (1 + len(kinds.degree))
    for _ in range(6):
        wrong = plan.copy()
        near = (limit, limit + 2 * len(kinds.degree), top + 2)[int(rng.integers(3))]
        wrong[rng.integers(len(plan))] = rng.integers(-1, near)
        yield f"{name}/wrong", batch, wrong, world


def _random_plan(batch: TrainingBatch, rng: np.random.Generator, most: int = 10**6) -> np.ndarray:
    """A legal plan; with `most`, of the first so many legal actions at each step."""
    env = SequenceParallelismEnv(batch)
    env.reset()
    plan, ended = [], False
    while not ended:
        plan.append(int(rng.choice(np.flatnonzero(env.action_masks())[:most])))
        _, ended = env.advance(plan[-1])
    return np.array(plan)
