"""The contracts between a family, its contenders and the evaluation.

The way of the data: a file or a generator -> Instance -> env.reset -> a contender's actions ->
Solution -> the judge (replay, then independent validation) -> a row of results -> statistics ->
report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .budget import Budget
from .solution import Solution

Direction = Literal["minimize", "maximize"]
SIGNS: dict[Direction, float] = {"minimize": 1.0, "maximize": -1.0}
Role = Literal["agent", "solver", "oracle"]
Form = Literal["planner", "player"]


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
class Contender:
    """Somebody who takes part in a comparison.

    Attributes:
        family, name: how the registry knows it.
        role: "agent" (trained), "solver", or "oracle" (knows all that the judge knows).
        form: "planner" makes a plan and is done; "player" plays closed loop.
        object: of a planner a Solver, or the Oracle where that is its role; of a player what makes
            a Policy, called without arguments.
    """

    family: str
    name: str
    role: Role
    form: Form
    object: Any


@dataclass(frozen=True, slots=True)
class Objective:
    """What is optimized: its name, its direction and its unit."""

    name: str
    direction: Direction
    unit: str

    @property
    def sign(self) -> float:
        """1.0 where less is better, -1.0 where more is: `sign * objective` is minimized."""
        return SIGNS[self.direction]


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
