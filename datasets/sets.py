"""Named instance sets: shipped in the package, read from public files, or generated on demand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from ..core.errors import InstanceError, UnknownNameError
from ..core.files import write_bytes
from ..core.instance import Instance, load_archive, save_archive
from ..core.lookup import check_name
from ..core.problem import InstanceSets

I = TypeVar("I", bound=Instance)  # noqa: E741 (the family's instance type)
HASHES = "hashes.json"


@dataclass(frozen=True, slots=True)
class Embedded(Generic[I]):
    """An instance set that is shipped as an archive.

    Attributes:
        name: the set's name.
        about: one line about it.
        size: number of instances.
        draw: () -> at least `size` instances; the first `size` of them are those in the archive.
    """

    name: str
    about: str
    size: int
    draw: Callable[[], Iterable[I]]

    @property
    def archive(self) -> str:
        """The archive's file name."""
        return self.name.replace(":", "-") + ".zip"


@dataclass(frozen=True, slots=True)
class Public(Generic[I]):
    """An instance set that is read from published files in the data folder.

    Attributes:
        name: the set's name.
        about: one line about it.
        files: paths relative to the data folder.
        source: where the files are published.
        load: (path of each file) -> the instances.
    """

    name: str
    about: str
    files: tuple[str, ...]
    source: str
    load: Callable[..., Iterable[I]]


@dataclass(frozen=True, slots=True)
class Drawn(Generic[I]):
    """An instance set that is generated on demand.

    Attributes:
        name: the set's name.
        about: one line about it.
        draw: () -> all instances, the same at every call.
    """

    name: str
    about: str
    draw: Callable[[], Iterable[I]]


InstanceSet: TypeAlias = Embedded[I] | Public[I] | Drawn[I]


class Sets(InstanceSets[I]):
    """The instance sets of a family.

    Attributes:
        kind: the family's Instance class.
        folder: folder of the embedded sets' archives.
    """

    def __init__(
        self,
        kind: type[I],
        sets: Iterable[InstanceSet[I]],
        folder: Path | None = None,
        found: Callable[[], Iterable[InstanceSet[I]]] = tuple,
    ) -> None:
        """Declare the sets.

        Args:
            kind: the family's Instance class.
            sets: the sets, in the order of lists.
            folder: folder of the embedded sets' archives and `hashes.json`; None if there are none.
            found: () -> further sets, which depend on the content of the data folder.
        """
        self.kind = kind
        self.folder = folder or Path()
        self._sets = {one.name: one for one in sets}
        self._found = found
        self._loaded: dict[tuple[str, Path], tuple[I, ...]] = {}

    def _all(self) -> dict[str, InstanceSet[I]]:
        return self._sets | {one.name: one for one in self._found()}

    def __getitem__(self, name: str) -> str:
        return self._all()[name].about

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    @property
    def embedded(self) -> list[Embedded[I]]:
        """The sets that are shipped in the package."""
        return [one for one in self._sets.values() if isinstance(one, Embedded)]

    def load(self, name: str) -> list[I]:
        """See the base class; loaded sets are cached."""
        base, slash, index = name.partition("/")
        one = self._named(base)
        key = (base, data_folder())
        if key not in self._loaded:
            self._loaded[key] = tuple(self._read(one))
        instances = self._loaded[key]
        if not slash:
            return list(instances)
        is_place = index.isdecimal() and len(index) < 10  # int() takes no thousands of digits
        if not is_place or int(index) >= len(instances):
            raise UnknownNameError(
                f"{base} has no instance {index!r}; it holds {base}/0 to "
                f"{base}/{len(instances) - 1}"
            )
        return [instances[int(index)]]

    def check(self, name: str) -> None:
        """See the base class; of a set that is generated on demand, the first instance is made."""
        one = self._named(name)
        if isinstance(one, Drawn):
            next(iter(one.draw()))
        else:
            self.load(name)

    def _named(self, name: str) -> InstanceSet[I]:
        return self._all()[check_name(name, self, f"{self.kind.FAMILY} instance set")]

    def _read(self, one: InstanceSet[I]) -> Iterable[I]:
        if isinstance(one, Embedded):
            return load_archive(self.kind, self.folder / one.archive)
        if isinstance(one, Public):
            return one.load(*(public_file(one.name, file, one.source) for file in one.files))
        return one.draw()

    def make(self, folder: Path | None = None) -> None:
        """Generate all embedded sets again, and `hashes.json` with each instance's content hash.

        Args:
            folder: where to write; None to replace the shipped files.

        Raises:
            OutputError: the folder cannot be written.
            InstanceError: a public file that a set is made from is missing.
            MissingDependencyError: a set needs a package that is not installed.
        """
        folder = folder or self.folder
        hashes: dict[str, list[str]] = {}
        for one in self.embedded:
            instances = list(islice(one.draw(), one.size))
            save_archive(instances, folder / one.archive)
            hashes[one.name] = [instance.content_hash for instance in instances]
        write_bytes(folder / HASHES, (json.dumps(hashes, indent=1) + "\n").encode())

    def hashes(self) -> dict[str, list[str]]:
        """Read the content hashes of the embedded sets, recorded when they were made.

        Returns:
            Name of each set -> the content hash of each of its instances.
        """
        recorded: dict[str, Any] = json.loads((self.folder / HASHES).read_text())
        return recorded


def data_folder() -> Path:
    """Return the folder of public files: SYSOPT_DATA, or ~/.cache/sysopt-gym if it is not set."""
    return Path(os.environ.get("SYSOPT_DATA") or Path.home() / ".cache" / "sysopt-gym")


def public_file(name: str, file: str, source: str) -> Path:
    """Return the path of a published file in the data folder.

    Args:
        name: name of the set or landscape that needs it, for the error message.
        file: path relative to the data folder.
        source: where the file is published.

    Raises:
        InstanceError: the file is missing; says where it comes from and where to put it.
    """
    path = data_folder() / file
    if not path.is_file():
        raise InstanceError(
            f"{name}: no file {path}; put {path.name} of {source} there, or set SYSOPT_DATA to the "
            f"folder that holds {file}"
        )
    return path
