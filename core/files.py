"""Read users' files up to a size limit, and write files atomically."""

from __future__ import annotations

import math
import os
from pathlib import Path

from .errors import InstanceError, OutputError, SettingError

MEGABYTE = 2**20
LIMIT_MB = 64


def size_limit() -> int:
    """Return the largest allowed size of a user's file, in bytes, from SYSOPT_MAX_FILE_MB.

    Raises:
        SettingError: the variable is not a positive number.
    """
    text = os.environ.get("SYSOPT_MAX_FILE_MB") or str(LIMIT_MB)
    try:
        limit = float(text) * MEGABYTE
    except ValueError:
        limit = math.nan
    if not 1 <= limit < math.inf:
        raise SettingError(
            f"SYSOPT_MAX_FILE_MB={text!r}; give a positive number of megabytes without a unit, "
            "such as 128 or 1.5"
        )
    return int(limit)


def read_bytes(path: Path, advice: str = "") -> bytes:
    """Read a user's whole file.

    Args:
        path: the file.
        advice: what to do about a file that is too large, such as "split the snapshot by cluster".

    Raises:
        InstanceError: the file is missing, unreadable, or larger than `size_limit`.
        SettingError: see `size_limit`.
    """
    limit = size_limit()
    try:
        size = path.stat().st_size
        if size > limit:
            raise InstanceError(
                f"{path}: {size / MEGABYTE:.0f} MB, over the limit of {limit / MEGABYTE:g} MB; "
                f"{f'{advice}, or ' if advice else ''}set SYSOPT_MAX_FILE_MB if it really is one "
                "instance"
            )
        return path.read_bytes()
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read ({error.strerror})") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: on failure, an older version stays as it was.

    Args:
        path: the file; missing folders are created.
        data: its whole content.

    Raises:
        OutputError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name without its content
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from error
