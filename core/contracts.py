"""The contracts between a family, its contenders and the evaluation.

The way of the data: a file or a generator -> Instance -> env.reset -> a contender's actions ->
Solution -> the judge (replay, then independent validation) -> a row of results -> statistics ->
report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from .budget import Budget
from .instance import Instance
from .solution import Solution

Direction = Literal["minimize", "maximize"]
Kind = Literal["agent", "solver", "policy", "oracle"]


class Solver(Protocol):
    """Plans on an instance within a budget. A plain function will do; it starts the clock itself.

    Solvers and planning agents have this form. Before any timing they are called once on the
    family's warm-up instance, so that imports, model loading and compilation are not on the clock.
    """

    def __call__(self, instance: Any, budget: Budget, seed: int) -> Solution:
        """The best plan found before the budget ended; the same seed draws the same numbers."""
        ...


class Policy(Protocol):
    """Plays closed loop: sees each observation before it acts. Agents may have this form, too."""

    def reset(self, told: Any, budget: Budget, seed: int) -> None:
        """Called once before each episode, with what a policy is told of the instance."""

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """The next action, in the form that plans are made of."""


class Oracle(Protocol):
    """A yardstick: plans with all that the judge knows. It takes part in the table, out of
    competition.
    """

    def __call__(self, instance: Any, budget: Budget, world: World) -> Solution:
        """The plan that hindsight would have made."""
        ...


@dataclass(frozen=True, slots=True)
class Objective:
    """What is optimized: its name, its direction and its unit."""

    name: str
    direction: Direction
    unit: str


@dataclass(frozen=True, slots=True)
class World:
    """What the judge knows and a contender does not.

    Attributes:
        seed: seeds whatever the world itself draws (arrivals, noise).
        elapsed_s: seconds the contender took before its first action; only families whose world
            moves on while a contender thinks make use of it.
    """

    seed: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the independent validator finds.

    Attributes:
        objective: recomputed from the instance and the actions alone; NaN where the actions make no
            sense.
        feasible: whether no constraint is broken.
        violations: one sentence a broken constraint, naming the step.
        detail: further figures of the family (plain numbers), shown as columns.
        replayed: what the environment must report as objective, where it is not allowed to know the
            objective itself; None where that is the objective.
    """

    objective: float
    feasible: bool
    violations: tuple[str, ...] = ()
    detail: Mapping[str, float] | None = None
    replayed: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A value a user may set on an instance with `--set key=value`."""

    default: str
    help: str


def _stands_still(instance: Any) -> bool:
    return False


def _all_of_it(instance: Any) -> Any:
    return instance


def _none_known(instance: Any) -> None:
    return None


def _no_actions(instance: Any) -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Problem:
    """Binds a family together for everything above it.

    Attributes:
        family: folder name and registry key.
        env_id, env_version: Gymnasium id, and the version of dynamics and observation; rows and
            checkpoints of another version are refused.
        title: one line for lists and reports.
        instance_type: the family's Instance class.
        instance_sets: name -> one line about it.
        load_set: a set's name -> its instances; may need the data folder.
        load_file: a user's file -> an instance; tells the format from the content.
        generate: parameters (strings, by name) and a seed -> an instance.
        generator_parameters: the parameters of `generate`.
        settings: what `--set` accepts; `apply_settings` returns the instance with them set.
        objective: of an instance (settings may change it).
        validate: the independent validator.
        warm_up_instance: a tiny instance contenders are run on before any timing.
        describe: a few facts about an instance, for `data info` and the report.
        export_plan: an instance and actions -> rows in an operator's form.
        default_instances, default_contenders, default_budget_s: what `compare` takes when not told.
        always: contenders that are in every table (budget-matched random search and greedy).
        baseline: the contender others are paired against.
        pictures: lazy entry point of the family's own pictures in the report, (rows, instances by
            hash) -> list of Picture; a row's "color" is its contender's in the rest of the report.
        benchmarks: name -> lazy entry point, () -> list of Throughput.
        best_known: an instance -> the best objective known from elsewhere, with its source, or
            None.
        draws: whether the world's seed changes the problem that an instance poses; runs of several
            seeds then have a best each.
        moves_on: whether an instance's world goes on while a contender thinks; a bound proven on
            the instance as given then proves nothing of the world the plan meets.
        shown: what of an instance a contender is given; the rest is the judge's alone.
        told: what of that a policy is told; the rest it meets in its observations.
        plan_arguments: of the environment, in the form whose actions are a plan's rows.
        nothing: the plan of doing nothing, int64; what a contender holds before its first plan, and
            what a failed run counts as.
    """

    family: str
    env_id: str
    env_version: str
    title: str
    instance_type: type[Instance]
    instance_sets: Mapping[str, str]
    load_set: Callable[[str], Sequence[Any]]
    load_file: Callable[[Path], Any]
    generate: Callable[[Mapping[str, str], int], Any]
    generator_parameters: Mapping[str, Setting]
    settings: Mapping[str, Setting]
    apply_settings: Callable[[Any, Mapping[str, str]], Any]
    objective: Callable[[Any], Objective]
    validate: Callable[[Any, np.ndarray, World], Verdict]
    warm_up_instance: Callable[[], Any]
    describe: Callable[[Any], dict[str, Any]]
    export_plan: Callable[[Any, np.ndarray], list[dict[str, Any]]]
    default_instances: tuple[str, ...]
    default_contenders: tuple[str, ...]
    default_budget_s: float
    always: tuple[str, ...]
    baseline: str
    pictures: str
    benchmarks: Mapping[str, str]
    best_known: Callable[[Any], tuple[float, str] | None] = _none_known
    variants: tuple[Mapping[str, str], ...] = ({},)
    draws: Callable[[Any], bool] = _stands_still
    moves_on: Callable[[Any], bool] = _stands_still
    shown: Callable[[Any], Any] = _all_of_it
    told: Callable[[Any], Any] = _all_of_it
    plan_arguments: Mapping[str, Any] = field(default_factory=dict)
    nothing: Callable[[Any], np.ndarray] = _no_actions


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for the report: title, one sentence on how to read it, and PNG bytes."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Throughput:
    """One measured speed beside its reference in the same run.

    Attributes:
        name: what was measured.
        per_second, unit: the speed.
        reference, reference_per_second: what it is compared with, and its speed on the same machine
            in the same run, or as published where it cannot be run here (the text says which).
        spread: half the range over repeats, as a fraction of per_second.
    """

    name: str
    per_second: float
    unit: str
    reference: str
    reference_per_second: float
    spread: float

    @property
    def ratio(self) -> float:
        """Speed over the reference's speed."""
        return self.per_second / self.reference_per_second
