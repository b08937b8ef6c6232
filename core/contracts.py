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
    """Plans on an instance within a budget; a plain function will do.

    Solvers and planning agents have this form. Before any timing they are called on the family's
    warm-up instance, so that imports, model loading and compilation are not on the clock.
    """

    def __call__(self, instance: Any, budget: Budget, seed: int) -> Solution:
        """Return the best plan found before the budget ended.

        Args:
            instance: the contender's view of it; see Problem.contender_view.
            budget: what may be spent; the solver starts its clock first of all.
            seed: the same seed draws the same numbers.
        """
        ...


class Policy(Protocol):
    """Plays closed loop: sees each observation before it acts."""

    def reset(self, instance: Any, budget: Budget, seed: int) -> None:
        """Begin an episode.

        Args:
            instance: the policy's view of it; see Problem.policy_view.
            budget: of the episode.
            seed: the same seed draws the same numbers.
        """

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """Return the next action, which becomes a row of the plan.

        Args:
            observation: of the environment made with Problem.env_arguments.
            info: that came with the observation.
        """


class Oracle(Protocol):
    """A yardstick: plans with all that the judge knows, and takes part out of competition."""

    def __call__(self, instance: Any, budget: Budget, world: World) -> Solution:
        """Return the plan that hindsight would have made.

        Args:
            instance: all of it.
            budget: what may be spent.
            world: the one that the plan will be judged in.
        """
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
        elapsed_s: seconds the contender took before its first action; of use in live worlds only,
            which go on while a contender thinks.
    """

    seed: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the independent validator finds.

    Attributes:
        objective: in the objective's unit, recomputed from the instance and the actions alone; NaN
            where the actions make no sense.
        feasible: whether no constraint is broken.
        violations: a sentence for each broken constraint, naming the step.
        detail: further figures of the family by name, shown as columns.
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
