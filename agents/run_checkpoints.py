"""Keep the checkpoints of a run: each complete or not there, the last two of them.

A checkpoint is a folder that is filled beside its place and renamed. Its MANIFEST, written last,
holds the sha256 of every file, so that a damaged one is found before anything is read from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.documents import read_json
from ..core.errors import CheckpointError, OutputError
from ..core.files import PARTIAL, unwritable
from .run_folder import ELSEWHERE, GO_ON

FOLDER, MANIFEST = "checkpoints", "manifest.json"
KEPT = 2


@contextmanager
def written(run: Path, step: int) -> Iterator[Path]:
    """Fill a checkpoint in the block; it is there, with its manifest, once the block has ended.

    Args:
        run: the run's folder.
        step: passes and iterations of the run that are done.

    Yields:
        The folder to fill.

    Raises:
        OutputError: it cannot be written.
    """
    place = run / FOLDER / f"{step:06d}"
    partial = place.with_name(place.name + PARTIAL)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        _write_manifest(partial)
        shutil.rmtree(place, ignore_errors=True)  # one that was damaged, or is made again
        partial.rename(place)
        _sync(place.parent)
    except OSError as error:
        raise OutputError(f"{place}: {unwritable(error, GO_ON, ELSEWHERE)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # what is half written takes up room


def prune(run: Path, step: int) -> None:
    """Remove all checkpoints but the newest KEPT up to a step, and what was left half-written.

    Args:
        run: the run's folder.
        step: of the newest checkpoint that is known to be good; later ones are damaged.
    """
    folders = sorted((run / FOLDER).iterdir())
    old = [folder for folder in folders if folder.name.isdecimal() and int(folder.name) <= step]
    for folder in folders:
        if folder not in old[-KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)


def newest_good(run: Path) -> tuple[Path | None, list[str]]:
    """Find the newest checkpoint whose files all agree with its manifest.

    Args:
        run: the run's folder.

    Returns:
        The checkpoint, None if the run has none yet; and what is wrong with newer ones.

    Raises:
        CheckpointError: there are checkpoints, but none is good.
    """
    folder = run / FOLDER
    found = [f for f in folder.iterdir() if f.name.isdecimal()] if folder.is_dir() else []
    faults: list[str] = []
    for place in sorted(found, reverse=True):
        fault = _fault(place)
        if not fault:
            return place, faults
        faults.append(fault)
    if faults:
        raise CheckpointError(
            f"{run}: the run cannot be resumed: {'; '.join(faults)}; start another with out=FOLDER"
        )
    return None, []


def _fault(place: Path) -> str:
    """Say what is wrong with a checkpoint; "" if nothing is."""
    manifest = place / MANIFEST
    try:
        expected = read_json(manifest)
        for name, digest in expected.items():
            if _digest(place / name) != digest:
                return f"{place / name} is damaged"
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"{manifest} is damaged ({error})"
    return ""


def _write_manifest(folder: Path) -> None:
    """Write every file of a folder through to the disk, and their hashes into its manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {}
    for path in files:
        hashes[path.relative_to(folder).as_posix()] = _digest(path)
        _sync(path)
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(hashes, indent=1) + "\n")
    _sync(manifest)
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _sync(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
