"""Look curricula up by the names in the table of this room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import SettingError
from ...core.lookup import check_name, resolve
from . import CURRICULA
from .base import Curriculum, TrainingSet


def load_curriculum(name: str) -> type[Curriculum]:
    """Return the class of a curriculum.

    Args:
        name: a key of CURRICULA, or an entry point "module:attribute" of a class of a user's own.

    Raises:
        UnknownNameError: there is no such name; the message lists all.
        SettingError: there is no curriculum at that place.
    """
    own = ":" in name
    found = resolve(name if own else CURRICULA[check_name(name, CURRICULA, "curriculum")])
    if not (isinstance(found, type) and issubclass(found, Curriculum)):
        raise SettingError(f"{name} is no sysopt_gym.agents.curriculum.base.Curriculum; name one")
    return found


def make_curriculum(section: Mapping[str, Any], training: TrainingSet) -> Curriculum:
    """Make the curriculum that a configuration names, as nothing has been played yet.

    Args:
        section: its "name", and its options by name.
        training: what is played.

    Raises:
        SettingError: it cannot choose among these instances.
    """
    options = {key: value for key, value in section.items() if key != "name"}
    return load_curriculum(section["name"])(training, **options)
