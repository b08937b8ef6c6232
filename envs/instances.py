"""The instances that an environment is made with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gymnasium.envs.registration import EnvSpec

from ..core.contracts import Setting
from ..core.errors import InstanceError
from ..core.instance import Instance
from ..core.registry import check_name
from ..datasets.sets import Sets

AnyInstance = TypeVar("AnyInstance", bound=Instance)


class SealsItsSpec:
    """The part of an environment that keeps Gymnasium's record of how it was made, its instances
    sealed: without what only the judge may know.
    """

    _spec: EnvSpec | None = None

    def _seal(self, instance: Any) -> Any:
        """The instance without its secrets; a family that has some says how."""
        return instance

    @property
    def spec(self) -> EnvSpec | None:
        """As in Gymnasium's base classes."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and "instances" in spec.kwargs:
            held = self._sealed(spec.kwargs["instances"])
            spec = dataclasses.replace(spec, kwargs=spec.kwargs | {"instances": held})
        self._spec = spec

    def _sealed(self, instances: Any) -> Any:
        """The argument `instances` with every one in it sealed."""
        if isinstance(instances, Instance):
            return self._seal(instances)
        if isinstance(instances, (str, Path)):
            return instances
        return tuple(self._seal(instance) for instance in instances)


def gather(
    instances: str | Path | AnyInstance | Sequence[AnyInstance],
    settings: Mapping[str, str],
    sets: Sets[AnyInstance],
    known: Mapping[str, Setting],
    load_file: Callable[[Path, Mapping[str, str]], AnyInstance],
    apply_settings: Callable[[AnyInstance, Mapping[str, str]], AnyInstance],
) -> list[AnyInstance]:
    """Collect the instances of an environment, with settings applied.

    Args:
        instances: a set's name, a file, or instances.
        settings: texts by the names in `known`.
        sets: the family's instance sets.
        known: the family's settings.
        load_file: reads a user's file with settings.
        apply_settings: returns an instance with settings replaced.

    Raises:
        InstanceError: there are none, or a file is malformed.
        UnknownNameError: no such set or setting.
        SettingError: a setting cannot be used.
    """
    for key in settings:
        check_name(key, known, f"{sets.kind.FAMILY} setting")
    named = isinstance(instances, str) and instances.partition("/")[0] in sets
    if isinstance(instances, Path) or (
        isinstance(instances, str) and not named and Path(instances).is_file()
    ):
        return [load_file(Path(instances), settings)]
    if isinstance(instances, str):
        found = sets.load(instances)
    else:
        found = [instances] if isinstance(instances, Instance) else list(instances)
    if not found:
        raise InstanceError("the environment got no instances; give at least one")
    return [apply_settings(one, settings) for one in found] if settings else found
