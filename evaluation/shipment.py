"""What the nodes of a Ray cluster are sent before they play: code, policies, versions."""

from __future__ import annotations

import importlib.metadata
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..core.entries import Entry
from ..core.errors import SettingError
from ..core.lookup import PACKAGE
from ..core.provenance import DISTRIBUTION
from ..core.registry import contender_entry, tables
from ..core.user_code import SUFFIX
from .node import digest, files_below, package_files, packed

MOST_BYTES = 2**28  # of a user's folder
EXTRAS = ("agents", "bo", "federated", "rna", "solvers")  # what contenders may need
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Shipment:
    """What nodes are sent.

    Attributes:
        package: this package as an archive.
        code: digest of its files.
        folders: the user's folders as archives, by their paths here.
        on_path: those of these paths that modules are imported from.
        versions: distribution -> version that is needed there.
    """

    package: bytes
    code: str
    folders: Mapping[str, bytes]
    on_path: Sequence[str]
    versions: Mapping[str, str]


def shipment(contenders: Iterable[tuple[str, str]]) -> Shipment:
    """Return what nodes need to play contenders.

    Args:
        contenders: names of their families and their own.

    Raises:
        SettingError: a folder is too large to be sent.
    """
    contenders = list(contenders)
    entries = [contender_entry(*one) for one in contenders]
    entries += [Entry(tables().families[family].problem) for family, _ in contenders]
    folders: dict[str, bytes] = {}
    on_path: dict[str, None] = {}
    for entry in entries:
        module = entry.place.rpartition(":")[0]
        if module.endswith(SUFFIX):
            wanted = [Path(module).parent]
        else:
            wanted = _search_folder(module.partition(".")[0])
            on_path |= dict.fromkeys(map(str, wanted))
        for folder in [*wanted, *([Path(entry.policy)] if entry.policy else [])]:
            if str(folder) not in folders:
                folders[str(folder)] = _packed(folder)
    files = package_files(ROOT)
    package = packed(*files, below=PACKAGE)
    return Shipment(package, digest(*files), folders, list(on_path), _versions())


def _search_folder(package: str) -> list[Path]:
    """Return the folder that a package is imported from, where it is the user's own.

    This package and those that are installed are not.
    """
    spec = find_spec(package)
    if package == PACKAGE or spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parents[1 if spec.submodule_search_locations else 0]
    places = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = {Path(sysconfig.get_path(place)).resolve() for place in places}
    return [] if folder.resolve() in installed else [folder]


def _packed(folder: Path) -> bytes:
    files = files_below(folder)
    size = sum((folder / name).stat().st_size for name in files)
    if size > MOST_BYTES:
        raise SettingError(
            f"{folder}: holds {size / 2**20:.0f} MiB, and every node is sent this folder with the "
            f"contender in it, of {MOST_BYTES / 2**20:.0f} MiB at most; put the contender, with "
            "what it needs, into a folder of its own"
        )
    return packed(folder, files)


def _versions() -> dict[str, str]:
    """Return what is installed here of what this package, and its contenders, need."""
    from packaging.requirements import Requirement

    try:
        texts = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # from a checkout that was never installed
        texts = []
    found = {}
    for one in map(Requirement, texts):
        extras = ("", *EXTRAS)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            try:
                found[one.name] = importlib.metadata.version(one.name)
            except importlib.metadata.PackageNotFoundError:
                continue
    found.pop("ray", None)  # that of the cluster, which Ray itself compares
    return found
