"""The tasks that an environment is made with: gathered, of one shape, and sealed wherever they are
kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.errors import InstanceError
from ...datasets.sequence_design.instance import DesignTask, seal
from ...datasets.sequence_design.loaders import load_file
from ...datasets.sequence_design.settings import SETTINGS, with_settings
from ...datasets.sequence_design.splits import SETS
from ..instances import SealsItsSpec as Base
from ..instances import gather


class SealsItsSpec(Base):
    """See the base class; what is sealed is a task's oracle."""

    def _seal(self, instance: DesignTask) -> DesignTask:
        return seal(instance)


def gather_tasks(
    instances: str | Path | DesignTask | Sequence[DesignTask], settings: Mapping[str, str]
) -> list[DesignTask]:
    """The tasks meant, with the settings applied, sealed.

    Raises:
        InstanceError: there are none, a file is malformed, or they are not all of one shape.
        UnknownNameError: no such set or setting.
    """
    found = [
        seal(task) for task in gather(instances, settings, SETS, SETTINGS, load_file, with_settings)
    ]
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
