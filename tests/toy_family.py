"""A family of its own for the tests: pick items, maximize their value within a weight. Registered
at run time.

An action is an item's index. Some contenders misbehave on purpose.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from sysopt_gym.core import registry
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Objective, Picture, Setting, Throughput, Verdict, World
from sysopt_gym.core.errors import IllegalActionError, InstanceError, SettingError
from sysopt_gym.core.instance import Instance
from sysopt_gym.core.problem import Defaults, Problem
from sysopt_gym.core.registry import Entry
from sysopt_gym.core.solution import Solution
from sysopt_gym.datasets.sets import Drawn, Sets

FAMILY = "toy"
ENV_ID = "sysopt/Toy-v0"


@dataclass(frozen=True, slots=True, eq=False)
class Items(Instance):
    """value, weight: int64 [N]; capacity: weight units; drift: value lost a second in a moving
    world."""

    FAMILY: ClassVar[str] = FAMILY

    value: np.ndarray
    weight: np.ndarray
    capacity: int
    drift: float

    def check(self) -> None:
        if len(self.value) == 0:
            raise InstanceError(f"{self.name}: has no items")


class ToyEnv(gymnasium.Env[dict[str, np.ndarray], int]):
    observation_space = gymnasium.spaces.Dict(
        {"action_mask": gymnasium.spaces.Box(0, 1, (8,), np.int8)}
    )
    action_space = gymnasium.spaces.Discrete(8)

    def __init__(self, instances: Any = ()) -> None:
        self.instances = instances

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        options = options or {}
        self.items = options.get("instance") or next(iter(self.instances), make_items(0))
        self.lost = self.items.drift * options.get("elapsed_s", 0.0)
        self.taken: list[int] = []
        return self._observation(), self._info()

    def step(self, action: int) -> Any:
        if not self._mask()[action]:
            raise IllegalActionError(f"item {action} does not fit or is taken")
        self.taken.append(int(action))
        return self._observation(), 1.0, not self._mask().any(), False, self._info()

    def _mask(self) -> np.ndarray:
        left = self.items.capacity - self.items.weight[self.taken].sum()
        mask = np.zeros(8, np.int8)
        mask[: len(self.items.value)] = self.items.weight <= left
        mask[self.taken] = 0
        return mask

    def _observation(self) -> dict[str, np.ndarray]:
        return {"action_mask": self._mask()}

    def _info(self) -> dict[str, Any]:
        value = float(self.items.value[self.taken].sum()) - self.lost
        return {"objective": value, "feasible": True}


def make_items(seed: int, name: str = "", count: int = 6) -> Items:
    rng = np.random.default_rng([seed, 7])
    return Items(
        name or f"toy/{seed}", rng.integers(5, 30, count), rng.integers(2, 9, count), 14, 0.0
    )


def greedy(items: Items, budget: Budget, seed: int) -> Solution:
    clock = budget.start()
    order = np.argsort(-items.value / items.weight, kind="stable")
    taken: list[int] = []
    for item in order:
        if items.weight[taken].sum() + items.weight[item] <= items.capacity:
            taken.append(int(item))
            clock.incumbent(taken)
    return clock.solution(taken)


def best(items: Items, budget: Budget, seed: int) -> Solution:
    clock = budget.start()
    n = len(items.value)
    subsets = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    value = np.where(subsets @ items.weight <= items.capacity, subsets @ items.value, -1)
    chosen = int(value.argmax())
    return clock.solution(np.flatnonzero(subsets[chosen]), "optimal", float(value[chosen]))


def random_pick(items: Items, budget: Budget, seed: int) -> Solution:
    clock = budget.start()
    order = np.random.default_rng(seed).permutation(len(items.value))
    total = np.cumsum(items.weight[order])
    return clock.solution(order[total <= items.capacity])


def infeasible(items: Items, budget: Budget, seed: int) -> Solution:
    return budget.start().solution(np.arange(len(items.value)))


def late(items: Items, budget: Budget, seed: int) -> Solution:
    clock = budget.start()
    if items.name != "warm-up":
        time.sleep(1.3 * budget.seconds + 0.05)
    return clock.solution(best(items, budget, seed).actions)


def slow(items: Items, budget: Budget, seed: int) -> Solution:
    if items.name != "warm-up":
        time.sleep(0.4 * budget.seconds)
    return greedy(items, budget, seed)


def raises(items: Items, budget: Budget, seed: int) -> Solution:
    if items.name == "toy/1":
        raise RuntimeError("ran out of luck")
    return greedy(items, budget, seed)


def dies(items: Items, budget: Budget, seed: int) -> Solution:
    if items.name == "toy/1":
        print("about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return greedy(items, budget, seed)


def broken_start(items: Items, budget: Budget, seed: int) -> Solution:
    raise ValueError("no weights to load")


class Follow:
    """Policy: the first legal item each time."""

    def reset(self, instance: Items, budget: Budget, seed: int) -> None:
        self.acted = 0

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        self.acted += 1
        return int(observation["action_mask"].argmax())


def pictures(rows: Any, instances: Any, colors: Any) -> list[Picture]:
    raise RuntimeError("no paint")


def measure() -> list[Throughput]:
    return [Throughput("toy steps", 2000.0, "steps/s", "a snail", 10.0, 0.01)]


class Toy(Problem[Items]):
    family = FAMILY
    env_id = ENV_ID
    env_version = "1"
    title = "Pick items within a weight"
    instance_type = Items
    sets = Sets(Items, [Drawn("toy", "three small problems", lambda: map(make_items, range(3)))])
    generator_parameters: ClassVar = {"count": Setting("6", "items")}
    settings: ClassVar = {
        "capacity": Setting("14", "weight to fill"),
        "drift": Setting("0", "lost a second"),
    }
    defaults = Defaults(("toy",), ("best", "greedy"), 0.5, ("random", "greedy"), "greedy")
    pictures = "toy_family:pictures"
    benchmark = "toy_family:measure"

    def load_file(self, path: Path, settings: Mapping[str, str]) -> Items:
        if path.read_bytes()[:2] == b"PK":
            return self.apply_settings(Items.load(path), settings)
        raise InstanceError(f"{path}: not a toy file")

    def generate(self, parameters: Mapping[str, str], seed: int) -> Items:
        return make_items(seed, count=int(parameters.get("count", "6")))

    def apply_settings(self, items: Items, values: Mapping[str, str]) -> Items:
        try:
            changes = {k: (int if k == "capacity" else float)(text) for k, text in values.items()}
        except ValueError as error:
            raise SettingError(f"setting cannot be read ({error})") from error
        return replace(items, **changes)  # type: ignore[arg-type]

    def objective(self, items: Items) -> Objective:
        return Objective("value", "maximize", "coins")

    def validate(self, items: Items, actions: np.ndarray, world: World) -> Verdict:
        weight = value = 0
        for step, item in enumerate(actions.tolist(), start=1):
            if not 0 <= item < len(items.value) or item in actions[: step - 1]:
                return Verdict(math.nan, False, (f"step {step}: item {item} cannot be taken",))
            weight += int(items.weight[item])
            value += int(items.value[item])
            if weight > items.capacity:
                return Verdict(math.nan, False, (f"step {step}: item {item} is too heavy",))
        lie = 1.0 if len(actions) and items.name == "liar" else 0.0
        figures = {"items": len(actions)}
        return Verdict(value - items.drift * world.elapsed_s + lie, True, (), figures)

    def warm_up_instance(self) -> Items:
        return make_items(99, "warm-up")

    def describe(self, items: Items) -> dict[str, Any]:
        return {"items": len(items.value), "capacity": items.capacity}

    def export_plan(self, items: Items, actions: np.ndarray) -> list[dict[str, Any]]:
        return [{"step": step, "item": int(item)} for step, item in enumerate(actions, start=1)]

    def is_live(self, items: Items) -> bool:
        return items.drift > 0


PROBLEM = Toy()


SOLVERS = {
    "best": Entry("toy_family:best"),
    "greedy": Entry("toy_family:greedy"),
    "random": Entry("toy_family:random_pick"),
    "infeasible": Entry("toy_family:infeasible"),
    "late": Entry("toy_family:late"),
    "slow": Entry("toy_family:slow"),
    "raises": Entry("toy_family:raises"),
    "dies": Entry("toy_family:dies"),
    "broken_start": Entry("toy_family:broken_start"),
    "follow": Entry("toy_family:Follow", "player"),
}
AGENTS = {"agent": Entry("toy_family:greedy")}


PLACE = registry.Family(
    problem="toy_family:PROBLEM",
    env_id=ENV_ID,
    env="toy_family:ToyEnv",
    contenders=("toy_family",),
)


def register() -> None:
    """Adds the family to the registry of this process."""
    registry.register_family(FAMILY, PLACE)


def unregister() -> None:
    """Takes the family out again."""
    registry.tables().families.pop(FAMILY, None)
    registry.tables().contenders.pop(FAMILY, None)
