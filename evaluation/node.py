"""What runs on a node of a Ray cluster, where nothing but Ray and the standard library need be.

Ray is given this module by value. Until `NodeSeat` has unpacked this package on the node, only the
standard library can be imported there.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import os
import pickle
import platform
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PACKAGE = "sysopt_gym"
SKIPPED = ("__pycache__", "node_modules", ".pyc")


def look(packages: Iterable[str]) -> dict[str, Any]:
    """Return what this machine is and has.

    Args:
        packages: names of distributions.

    Returns:
        host: its name. cores: how many it has. versions: of the distributions that are installed,
        by name. code: digest of this package's files; "" where it cannot be imported.
    """
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    spec = importlib.util.find_spec(PACKAGE)
    origin = None if spec is None else spec.origin
    return {
        "host": platform.node(),
        "cores": os.cpu_count() or 1,
        "versions": versions,
        "code": "" if origin is None else digest(*package_files(Path(origin).parent)),
    }


def package_files(root: Path) -> tuple[Path, list[Path]]:
    """Return a package's folder and its files: modules, and all that is in subpackages.

    What else lies in a checkout, such as tests, is no part of it.

    Args:
        root: the package's folder.
    """
    inner = {one.parent.name for one in root.glob("*/__init__.py")}
    return root, [
        path for path in files_below(root)
        if path.parts[0] in inner or (len(path.parts) == 1 and path.suffix == ".py")
    ]  # fmt: skip


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, relative to it, in a fixed order.

    Hidden ones, virtual environments and what Python compiled are left out.
    """
    found = []
    for here, folders, files in os.walk(folder):
        place = Path(here).relative_to(folder)
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [one for one in folders if _counts(one)]
        found += [place / one for one in files if _counts(one)]
    return sorted(found)


def _counts(name: str) -> bool:
    return not (name.startswith(".") or name.endswith((*SKIPPED, ".nbi", ".nbc")))


def digest(folder: Path, files: Sequence[Path]) -> str:
    """Return a hash of files in a folder: of their names, and of what is in them."""
    found = hashlib.sha256()
    for name in files:
        content = (folder / name).read_bytes()
        found.update(f"{name.as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:16]


def packed(folder: Path, files: Sequence[Path], below: str = "") -> bytes:
    """Return files as a ZIP archive, the same for the same files.

    Args:
        folder: where they are.
        files: their paths, relative to it.
        below: folder in the archive to put them in.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for name in files:
            place = zipfile.ZipInfo(Path(below, name).as_posix())
            writer.writestr(place, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def unpacked(archive: bytes) -> Path:
    """Return a folder of this user's with an archive's files, which is kept for the next time."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sysopt-gym", "code")
    target = place / hashlib.sha256(archive).hexdigest()[:16]
    if not target.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=place))
        with zipfile.ZipFile(io.BytesIO(archive)) as reader:
            reader.extractall(fresh)
        try:
            fresh.rename(target)  # whole, or not at all
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return target


class NodeSeat:
    """A seat on a node; see seat.Seat.

    Args:
        package: this package as an archive; None where the node has the same.
        folders: the user's folders, by their paths on the machine that asks.
        on_path: those of them that Python is to import modules from.
        archives: what is in the folders.
    """

    def __init__(
        self,
        package: bytes | None,
        folders: Sequence[str],
        on_path: Sequence[str],
        *archives: bytes,
    ) -> None:
        places = [str(unpacked(archive)) for archive in archives]
        self._places = dict(zip(folders, places, strict=True))
        added = [self._places[path] for path in on_path]
        if package is not None:
            added.insert(0, str(unpacked(package)))
        sys.path[:0] = added
        # Contenders' processes are started as `python -m sysopt_gym...`.
        paths = [*sys.path, os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._entry: Any = None

    def sit_down(self, terms: bytes, tables: bytes) -> dict[str, str]:
        """Get ready to play, and return the versions that results may depend on.

        Args:
            terms: pickled Terms of the comparison.
            tables: pickled registry, whose places of user's files are those of the machine that
                asks.
        """
        from sysopt_gym.core.entries import moved
        from sysopt_gym.core.registry import adopt
        from sysopt_gym.evaluation.conditions import package_versions
        from sysopt_gym.evaluation.seat import Seat

        adopt(moved(pickle.loads(tables), self._places))
        self._seat = Seat(pickle.loads(terms))
        return package_versions()

    def play(self, instance_hash: str, entry: bytes, *cell: Any) -> Any:
        """Play a cell and return its row.

        Args:
            instance_hash: the instance's.
            entry: pickled Entry.
            cell: the further fields of the Cell.
        """
        from sysopt_gym.evaluation.cells import Cell

        if self._entry is None or self._entry.instance_hash != instance_hash:
            self._entry = pickle.loads(entry)
        return self._seat.play(Cell(self._entry, *cell))
