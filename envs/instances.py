"""The instances that an environment is made with. Uses core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ..core.errors import InstanceError
from ..core.instance import Instance

AnyInstance = TypeVar("AnyInstance", bound=Instance)


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
