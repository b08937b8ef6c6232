"""Contracts between a problem family, its contenders and the evaluation.

Data flows in one direction: a file or a generator -> Instance -> env.reset -> a contender's actions
-> Solution -> the judge (replay, then independent validation) -> a row of results -> statistics ->
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
    """Interface of a planner: a callable that returns a plan within a budget.

    Solvers and planning agents have this form. Before any timing they are called on the family's
    warm-up instance, so that imports, model loading and compilation are not timed.
    """

    def __call__(self, instance: Any, budget: Budget, seed: int) -> Solution:
        """Return the best plan found before the budget ended.

        Args:
            instance: the contender's view of the instance; see Problem.contender_view.
            budget: the run's limits; the solver starts its clock before anything else.
            seed: seed of the solver's random numbers; the same seed draws the same numbers.
        """
        ...


class Policy(Protocol):
    """Interface of a closed-loop player: it sees each observation before it acts."""

    def reset(self, instance: Any, budget: Budget, seed: int) -> None:
        """Begin an episode.

        Args:
            instance: the policy's view of the instance; see Problem.policy_view.
            budget: limits of the whole episode.
            seed: seed of the policy's random numbers; the same seed draws the same numbers.
        """

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """Return the next action, which becomes a row of the plan.

        Args:
            observation: observation of the environment made with Problem.env_arguments.
            info: the info that came with the observation.
        """


class Oracle(Protocol):
    """Interface of an oracle: it plans with everything the judge knows, outside the competition."""

    def __call__(self, instance: Any, budget: Budget, world: World) -> Solution:
        """Return a plan made in hindsight.

        Args:
            instance: the whole instance, with what contenders do not see.
            budget: the run's limits.
            world: the world that the plan will be judged in.
        """
        ...


@dataclass(frozen=True, slots=True)
class Contender:
    """A solver, agent or oracle that takes part in comparisons.

    Attributes:
        family: name of its family in the registry.
        name: its own name in the registry.
        role: "agent" (trained), "solver", or "oracle" (knows everything the judge knows).
        form: "planner" returns a whole plan at once; "player" plays closed loop.
        object: for a planner a Solver, or an Oracle if that is its role; for a player a callable
            without arguments that makes a Policy.
    """

    family: str
    name: str
    role: Role
    form: Form
    object: Any


@dataclass(frozen=True, slots=True)
class Objective:
    """What is optimized.

    Attributes:
        name: its name.
        direction: whether less or more of it is better.
        unit: its unit.
    """

    name: str
    direction: Direction
    unit: str

    @property
    def sign(self) -> float:
        """1.0 if less is better, -1.0 if more is: `sign * objective` is minimized."""
        return SIGNS[self.direction]


@dataclass(frozen=True, slots=True)
class World:
    """What the judge knows and contenders do not.

    Attributes:
        seed: seed of what the world draws (arrivals, noise).
        elapsed_s: wall-clock seconds the contender took before its first action; used only in live
            worlds, whose events continue while a contender computes.
    """

    seed: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of the independent validation of a plan.

    Attributes:
        objective: recomputed from the instance and the actions alone, in the objective's unit; NaN
            if the actions are malformed.
        feasible: whether no constraint is broken.
        violations: one sentence for each broken constraint, naming the step.
        detail: name -> value of further figures of the family, shown as columns; None for none.
        replayed: what the environment must report as its objective if it cannot know the true one;
            None if it reports the true one.
    """

    objective: float
    feasible: bool
    violations: tuple[str, ...] = ()
    detail: Mapping[str, float] | None = None
    replayed: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that a user may set on an instance with `--set key=value`.

    Attributes:
        default: text of the default value.
        help: one line on what the setting does and which values it takes.
    """

    default: str
    help: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the report.

    Attributes:
        title: its heading.
        caption: one sentence on how to read it.
        png: the PNG file's bytes; those of a GIF file for an animation.
        instances: content hashes of the instances it shows; empty where it shows no single ones.
        result: what it shows here in a sentence, for readers who do not see it.
    """

    title: str
    caption: str
    png: bytes
    instances: tuple[str, ...] = ()
    result: str = ""


@dataclass(frozen=True, slots=True)
class Throughput:
    """One measured speed beside its reference in the same run.

    Attributes:
        name: what was measured.
        per_second: the speed, in `unit` per second.
        unit: what is counted.
        reference: what the speed is compared with.
        reference_per_second: the reference's speed on the same machine in the same run, or as
            published if it cannot be run here (`reference` says which).
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
        """The speed divided by the reference's speed."""
        return self.per_second / self.reference_per_second
