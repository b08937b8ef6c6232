"""Solution: the actions a contender chose and what it proves about them, with its file format."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .documents import read_json
from .errors import InstanceError, SolutionError
from .files import kind_of, write_bytes

Status = Literal["optimal", "feasible"]


@dataclass(frozen=True, slots=True, eq=False)
class Incumbent:
    """The best plan at one moment of a search.

    Attributes:
        seconds: wall-clock seconds since the contender got the instance.
        actions: int64, one row per environment step, as in `Solution`.
    """

    seconds: float
    actions: np.ndarray


@dataclass(frozen=True, slots=True)
class Played:
    """What the environment reported at the end of an episode.

    Attributes:
        objective: `info["objective"]`, in the objective's unit.
        feasible: `info["feasible"]`.
    """

    objective: float
    feasible: bool


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What a contender returns.

    Attributes:
        actions: int64, one row per environment step, in the environment's default form.
        status: "optimal" if the method proves that no plan is better, else "feasible".
        bound: a proven bound on the objective (same unit and direction), or None.
        incumbents: the improving plans of the search in order, the returned one last.
        played: what the environment reported, if the plan was played closed loop; else None.
    """

    actions: np.ndarray
    status: Status = "feasible"
    bound: float | None = None
    incumbents: tuple[Incumbent, ...] = ()
    played: Played | None = None


@dataclass(frozen=True, slots=True)
class SolutionFile:
    """A solution on disk, with everything needed to judge it again.

    Attributes:
        family: name of the problem family.
        instance: name of the instance.
        instance_hash: content hash of the instance with its settings.
        contender: name of the contender that made it.
        seed: seed the contender was given.
        settings: settings of the instance, texts by name.
        actions: one entry per environment step: an int or a list of ints.
        status: what the contender claims; see `Solution`.
        bound: proven bound on the objective, or None.
        wall_s: wall-clock seconds that the contender took.
        extra: further facts for the reader, by name.
    """

    family: str
    instance: str
    instance_hash: str
    contender: str
    seed: int
    settings: dict[str, str]
    actions: list[Any]
    status: str = "feasible"
    bound: float | None = None
    wall_s: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the solution as JSON.

        Args:
            path: the file; missing folders are created.

        Raises:
            OutputError: the file cannot be written.
        """
        document = {name: getattr(self, name) for name in self.__slots__}
        write_bytes(path, (json.dumps(document, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> SolutionFile:
        """Read what `save` wrote.

        Args:
            path: the file.

        Raises:
            SolutionError: the file is missing, is not JSON, or lacks a field.
        """
        try:
            if kind_of(path) == "nothing":
                raise SolutionError(f"{path}: no such file; `sysopt-gym solve --out` makes one")
            document = read_json(path)
        except InstanceError as error:
            raise SolutionError(f"{error}; not a solution file") from error
        if not isinstance(document, dict):
            raise SolutionError(f"{path}: a solution file holds one JSON object")
        needed = ("family", "instance", "instance_hash", "actions")
        missing = [name for name in needed if name not in document]
        if missing:
            raise SolutionError(
                f"{path}: field {missing[0]!r} is missing; `sysopt-gym solve` writes it"
            )
        defaults: dict[str, Any] = {"contender": "unknown", "seed": 0, "settings": {}}
        known = {name: document[name] for name in cls.__slots__ if name in document}
        return cls(**(defaults | known))

    def action_array(self, path: Path) -> np.ndarray:
        """Return the actions as an int64 array, one row per environment step.

        Args:
            path: the file they were read from, for error messages.

        Raises:
            SolutionError: an action is not an integer, or the rows have different lengths.
        """
        try:
            return whole_rows(self.actions)
        except TypeError as error:
            raise SolutionError(f"{path}: field 'actions': {error}") from error


def whole_rows(actions: Any) -> np.ndarray:
    """Return actions as an int64 array.

    Args:
        actions: a plan or an action, as a contender or a file gives it.

    Raises:
        TypeError: not whole numbers of 64 bits, or rows of different lengths.
    """
    try:
        array = np.asarray(actions)
    except ValueError as error:
        raise TypeError("its actions have rows of different lengths") from error
    if array.size == 0 and array.dtype != object:
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"its actions are of type {array.dtype}; give whole numbers (int64)")
    if array.dtype == np.uint64 and array.max(initial=0) > np.iinfo(np.int64).max:
        raise TypeError("its actions hold numbers over 2**63 - 1")
    return array.astype(np.int64)
