"""The instances that an environment is made with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gymnasium.envs.registration import EnvSpec

from ..core.errors import InstanceError
from ..core.instance import Instance

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
    sets: Iterable[str],
    load_set: Callable[[str], list[AnyInstance]],
    load_file: Callable[[Path], AnyInstance],
) -> list[AnyInstance]:
    """The instances meant: a set's, a file's, or those given.

    Raises:
        InstanceError: there are none, or a file is malformed.
        UnknownNameError: no such set.
    """
    if isinstance(instances, Instance):
        found: list[AnyInstance] = [instances]
    elif isinstance(instances, Path):
        found = [load_file(instances)]
    elif isinstance(instances, str):
        is_file = instances.partition("/")[0] not in sets and Path(instances).is_file()
        found = [load_file(Path(instances))] if is_file else load_set(instances)
    else:
        found = list(instances)
    if not found:
        raise InstanceError("the environment got no instances; give at least one")
    return found
