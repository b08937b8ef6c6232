"""Problem: the base class that binds a family together for everything above it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from .contracts import Objective, Setting, Verdict, World
from .instance import Instance

I = TypeVar("I", bound=Instance)  # noqa: E741 (the family's instance type)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What `compare` plays where the user does not say.

    Attributes:
        instances: instance sets, or single instances of sets ("SET/3").
        contenders: names, in the table's order.
        budget_s: wall-clock seconds a contender may spend on an instance.
        always: names of the contenders that are in every table (random search and a greedy rule).
        baseline: name of the contender that the others are compared with, pair by pair.
        variants: settings that each instance is played with, one after the other; `{}` is the
            instance as loaded. A variant that sets what the user sets is left out.
    """

    instances: tuple[str, ...]
    contenders: tuple[str, ...]
    budget_s: float
    always: tuple[str, ...]
    baseline: str
    variants: tuple[Mapping[str, str], ...] = ({},)


class InstanceSets(Mapping[str, str], Generic[I]):
    """The named instance sets of a family: name of each set -> one line about it."""

    @abstractmethod
    def load(self, name: str) -> Sequence[I]:
        """Load the instances of a set; "SET/3" gives its instance 3 alone.

        Args:
            name: of a set, or of one instance in it.

        Raises:
            UnknownNameError: no such set or instance.
            InstanceError: the set's data is not in the data folder.
        """


class Problem(ABC, Generic[I]):
    """A family of problems: its names, where its instances come from, and how a plan is judged.

    A family is one subclass, without state, of which its `problem.py` holds one object, PROBLEM.
    Methods without a body here must be written; the others have a default that suits a family whose
    instances stand still, are deterministic and hide nothing.
    """

    family: ClassVar[str]
    """Name of the family: its key in the registry and the name of its folders."""
    env_id: ClassVar[str]
    """Gymnasium id of its environment."""
    env_version: ClassVar[str]
    """Version of dynamics and observation; rows and checkpoints of another one are refused."""
    title: ClassVar[str]
    """One line for lists and reports."""
    instance_type: ClassVar[type[Instance]]
    """The class of its instances."""
    sets: ClassVar[InstanceSets[Any]]
    """Its named instance sets."""
    generator_parameters: ClassVar[Mapping[str, Setting]]
    """The parameters of `generate`, by name."""
    settings: ClassVar[Mapping[str, Setting]]
    """What `--set` accepts, by name."""
    defaults: ClassVar[Defaults]
    """What `compare` plays where the user does not say."""
    env_arguments: ClassVar[Mapping[str, Any]] = {}
    """Arguments with which `gymnasium.make` gives the environment whose actions are the rows of a
    plan."""
    pictures: ClassVar[str] = ""
    """Lazy entry point of its pictures in the report: (rows of results, instances by their hash,
    colors by contender) -> list of Picture."""
    benchmarks: ClassVar[Mapping[str, str]] = {}
    """Name of each speed measurement -> lazy entry point: () -> list of Throughput."""

    @abstractmethod
    def load_file(self, path: Path, settings: Mapping[str, str]) -> I:
        """Read a user's file; the format is told from the content.

        Args:
            path: the file.
            settings: texts by the names in `settings`, which the instance has in the end. A default
                that would refuse the file must give way to them.

        Raises:
            InstanceError: the file is malformed or of no known format.
            SettingError: a setting cannot be used.
        """

    @abstractmethod
    def generate(self, parameters: Mapping[str, str], seed: int) -> I:
        """Generate an instance.

        Args:
            parameters: texts by the names in `generator_parameters`; the others have their
                defaults.
            seed: the same seed and parameters give the same instance.

        Raises:
            SettingError: a value cannot be used.
        """

    @abstractmethod
    def apply_settings(self, instance: I, values: Mapping[str, str]) -> I:
        """Return the instance with settings replaced.

        Args:
            instance: stays as it is.
            values: texts by the names in `settings`.

        Raises:
            SettingError: a value cannot be read.
            InstanceError: a value is impossible for this instance.
        """

    @abstractmethod
    def objective(self, instance: I) -> Objective:
        """Name what is optimized, with its direction and unit.

        Args:
            instance: its settings may choose the objective.
        """

    @abstractmethod
    def validate(self, instance: I, actions: np.ndarray, world: World) -> Verdict:
        """Recompute feasibility and objective of a plan, without the environment's code.

        Args:
            instance: as the contender got it, with all that only the judge knows.
            actions: int64, one row for each step of the environment.
            world: seed of what the world draws, and seconds spent before the first action.
        """

    @abstractmethod
    def warm_up_instance(self) -> I:
        """Make a tiny instance, on which contenders are run before any timing."""

    @abstractmethod
    def describe(self, instance: I) -> dict[str, Any]:
        """List a few facts for `data info` and the report.

        Args:
            instance: any instance of the family.

        Returns:
            Name of each fact -> a value that can be printed.
        """

    @abstractmethod
    def export_plan(self, instance: I, actions: np.ndarray) -> list[dict[str, Any]]:
        """Write a plan in an operator's form.

        Args:
            instance: the instance the plan was made for.
            actions: int64, one row for each step of the environment.

        Returns:
            One record for each step; all have the same keys.

        Raises:
            SolutionError: the plan cannot be carried out.
        """

    def best_known(self, instance: I) -> tuple[float, str] | None:
        """Look up the best objective known from elsewhere.

        Args:
            instance: any instance of the family.

        Returns:
            The objective and its source; None if none is known.
        """
        return None

    def is_live(self, instance: I) -> bool:
        """Whether the instance's world goes on while a contender thinks.

        A bound proven on the instance as given then proves nothing about the world that the plan
        meets.

        Args:
            instance: its settings may say so.
        """
        return False

    def is_random(self, instance: I) -> bool:
        """Whether the world's seed changes the problem; each seed then has a best of its own.

        Args:
            instance: any instance of the family.
        """
        return False

    def contender_view(self, instance: I) -> I:
        """Return what solvers and agents are given of the instance; oracles are given all of it.

        Args:
            instance: as the judge has it.
        """
        return instance

    def policy_view(self, instance: I) -> Any:
        """Return what `Policy.reset` is given; a policy sees the rest in its observations.

        Args:
            instance: as contenders see it.
        """
        return instance

    def null_plan(self, instance: I) -> np.ndarray:
        """Make the plan of doing nothing.

        It is what a contender holds before its first plan, and what a failed run counts as.

        Args:
            instance: as the judge has it.

        Returns:
            int64, one row for each step of the environment.
        """
        return np.zeros(0, np.int64)
