"""Problem: the base class that describes a family to everything above it."""

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
    """What `compare` plays if the user does not choose.

    Attributes:
        instances: instance sets, or single instances of sets ("SET/3").
        contenders: names, in the table's order.
        budget_s: wall-clock seconds a contender may spend on an instance.
        always: names of the contenders that are in every table (random search and a greedy rule).
        baseline: name of the contender that the others are compared with, pair by pair.
        variants: settings that each instance is played with, one after the other; `{}` is the
            instance as loaded. What the user sets takes the place of what they set.
    """

    instances: tuple[str, ...]
    contenders: tuple[str, ...]
    budget_s: float
    always: tuple[str, ...]
    baseline: str
    variants: tuple[Mapping[str, str], ...] = ({},)


@dataclass(frozen=True, slots=True)
class Template:
    """A small valid file of a form that people write themselves, to start one's own from.

    Attributes:
        name: file name.
        text: content of the file.
        fields: meaning, with its unit, of each field or column; "[]" in its name stands for the
            members of a list.
        command: what follows `sysopt-gym` to plan for the file, "{file}" standing for it.
    """

    name: str
    text: str
    fields: Mapping[str, str]
    command: str


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

    def check(self, name: str) -> None:
        """Raise what `load` raises where a set cannot be had on this machine.

        Args:
            name: of a set.

        Raises:
            UnknownNameError: no such set.
            InstanceError: the set's data is not in the data folder.
        """
        self.load(name)


class Problem(ABC, Generic[I]):
    """A family of problems: its names, where its instances come from, and how a plan is judged.

    A family is one subclass without state; its `problem.py` holds one object of it, PROBLEM.
    Methods without a body here must be written; the others have a default that suits a family whose
    instances are static, deterministic and fully visible.
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
    replay_arguments: ClassVar[Mapping[str, Any]] = {}
    """Further arguments of the environment in which the judge replays plans, which may hold actions
    that players are not offered."""
    reads_folders: ClassVar[bool] = False
    """Whether `load_file` takes a folder for a file, such as one of two tables."""
    pictures: ClassVar[str] = ""
    """Lazy entry point of its pictures in the report: (rows of results, instances by their hash,
    colors by contender) -> list of Picture."""
    benchmark: ClassVar[str] = ""
    """Lazy entry point of its speed measurements: () -> list of Throughput."""

    @abstractmethod
    def load_file(self, path: Path, settings: Mapping[str, str], /) -> I:
        """Read a user's file; the format is recognized by the content.

        Args:
            path: the file.
            settings: texts by the names in `settings`, applied to the instance. They take the place
                of defaults that would refuse the file.

        Raises:
            InstanceError: the file is malformed or of no known format.
            SettingError: a setting cannot be used.
        """

    @abstractmethod
    def generate(self, parameters: Mapping[str, str], seed: int, /) -> I:
        """Generate an instance.

        Args:
            parameters: texts by the names in `generator_parameters`; those left out have their
                defaults.
            seed: the same seed and parameters give the same instance.

        Raises:
            SettingError: a value cannot be used.
        """

    @abstractmethod
    def apply_settings(self, instance: I, values: Mapping[str, str], /) -> I:
        """Return a copy of the instance with settings replaced.

        Args:
            instance: any instance of the family.
            values: texts by the names in `settings`.

        Raises:
            SettingError: a value cannot be read.
            InstanceError: a value is impossible for this instance.
        """

    @abstractmethod
    def objective(self, instance: I, /) -> Objective:
        """Name what is optimized, with its direction and unit.

        Args:
            instance: its settings may choose the objective.
        """

    @abstractmethod
    def validate(self, instance: I, actions: np.ndarray, world: World, /) -> Verdict:
        """Recompute feasibility and objective of a plan, without the environment's code.

        Args:
            instance: the whole instance, with what contenders do not see.
            actions: int64, one row per environment step.
            world: seed of what the world draws, and seconds spent before the first action.
        """

    def validate_each(
        self, instance: I, plans: Sequence[np.ndarray], worlds: Sequence[World], /
    ) -> Sequence[Verdict]:
        """Validate several plans of one instance, as `validate` does each.

        A family whose validator has work that plans can share does it once here.

        Args:
            instance: the whole instance.
            plans: int64, one row per environment step, each.
            worlds: of each plan.
        """
        pairs = zip(plans, worlds, strict=True)
        return [self.validate(instance, plan, world) for plan, world in pairs]

    @abstractmethod
    def warm_up_instance(self) -> I:
        """Make a tiny instance, on which contenders are run before any timing."""

    @abstractmethod
    def describe(self, instance: I, /) -> dict[str, Any]:
        """Describe an instance in a few facts, for `data info` and the report.

        Args:
            instance: any instance of the family.

        Returns:
            Name of each fact -> a value that can be printed.
        """

    @abstractmethod
    def export_plan(self, instance: I, actions: np.ndarray, /) -> list[dict[str, Any]]:
        """Convert a plan into a form that an operator can carry out.

        Args:
            instance: the instance the plan was made for.
            actions: int64, one row per environment step.

        Returns:
            One record per step; all have the same keys.

        Raises:
            SolutionError: the plan cannot be carried out.
        """

    def template(self) -> Template | None:
        """Return a small valid file to start one's own from, every field explained.

        Returns:
            None if the family has no format that people write themselves.
        """
        return None

    def best_known(self, instance: I, /) -> tuple[float, str] | None:
        """Return the best objective known from elsewhere.

        Args:
            instance: any instance of the family.

        Returns:
            The objective and its source; None if none is known.
        """
        return None

    def is_live(self, instance: I, /) -> bool:
        """Whether the instance's world goes on while a contender computes.

        If so, a bound proven on the given instance does not hold for the world that the plan meets.

        Args:
            instance: its settings may decide this.
        """
        return False

    def is_random(self, instance: I, /) -> bool:
        """Whether the world's seed changes the problem; each seed then has a best of its own.

        Args:
            instance: any instance of the family.
        """
        return False

    def contender_view(self, instance: I, /) -> I:
        """Return what solvers and agents get of an instance; oracles get all of it.

        Args:
            instance: the whole instance.
        """
        return instance

    def environment_view(self, instance: I, /) -> I:
        """Return what environments keep of an instance; by default what contenders see.

        A family whose world plays what contenders must not know yet keeps it here: policies meet it
        in the environment, and get their own view of the instance when they are reset.

        Args:
            instance: the whole instance.
        """
        return self.contender_view(instance)

    def policy_view(self, instance: I, /) -> Any:
        """Return what `Policy.reset` gets of an instance; observations tell the policy the rest.

        Args:
            instance: as contenders see it.
        """
        return instance

    def null_plan(self, instance: I, /) -> np.ndarray:
        """Return the plan of doing nothing.

        A contender has this plan before its first own one, and a failed run is scored by it.

        Args:
            instance: the whole instance.

        Returns:
            int64, one row per environment step.
        """
        return np.zeros(0, np.int64)
