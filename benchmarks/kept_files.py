"""Results of benchmarks that are kept in files, so that a run goes on where it stopped."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..core.files import write_bytes

T = TypeVar("T")


def kept(file: Path, make: Callable[[], T]) -> T:
    """Return what a file of an earlier run holds; where there is none, make it and write it whole.

    Args:
        file: of this benchmark's own folder: it is unpickled.
        make: makes what the file shall hold.
    """
    if not file.exists():
        write_bytes(file, pickle.dumps(make()))
    found: T = pickle.loads(file.read_bytes())
    return found
