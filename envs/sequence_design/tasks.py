"""The tasks that an environment is made with: gathered, of one shape, and sealed wherever they are
kept. Uses gymnasium and datasets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec

from ...core.errors import InstanceError
from ...core.registry import known
from ...datasets.sequence_design.instance import DesignTask, seal, with_settings
from ...datasets.sequence_design.loaders import load_file
from ...datasets.sequence_design.splits import SETS, load_set
from ..instances import gather

SETTING_NAMES = ("batch", "offline")


class SealsItsSpec:
    """The part of an environment that keeps Gymnasium's record of how it was made, its tasks
    sealed.
    """

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """As in Gymnasium's base classes."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and "instances" in spec.kwargs:
            spec = dataclasses.replace(
                spec, kwargs=spec.kwargs | {"instances": _sealed(spec.kwargs["instances"])}
            )
        self._spec = spec


def gather_tasks(
    instances: str | Path | DesignTask | Sequence[DesignTask], settings: Mapping[str, str]
) -> list[DesignTask]:
    """The tasks meant, with the settings applied, sealed.

    Raises:
        InstanceError: there are none, a file is malformed, or they are not all of one shape.
        UnknownNameError: no such set or setting.
    """
    found = gather(instances, SETS, load_set, load_file)
    for key in settings:
        known(key, SETTING_NAMES, "sequence_design setting")
    found = [seal(with_settings(task, settings)) for task in found]
    for task in found:
        check_alike(found[0], task)
    return found


def check_alike(first: DesignTask, task: DesignTask) -> None:
    """Refuses a task of another shape than the environment's first.

    Raises:
        InstanceError: the task has other letters or another length.
    """
    if (task.letters, task.length) != (first.letters, first.length):
        raise InstanceError(
            f"{task.name}: {task.length} letters out of {task.letters}, where {first.name} has "
            f"{first.length} out of {first.letters}; make an environment for each kind of task"
        )


def _sealed(instances: Any) -> Any:
    """The argument `instances` with every task in it sealed."""
    if isinstance(instances, DesignTask):
        return seal(instances)
    if isinstance(instances, (str, Path)):
        return instances
    return tuple(seal(task) for task in instances)
