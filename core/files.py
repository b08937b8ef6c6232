"""Read users' files up to a size limit, and write files atomically."""

from __future__ import annotations

import errno
import math
import os
import secrets
from pathlib import Path

from .errors import InstanceError, OutputError, SettingError

MEGABYTE = 2**20
LIMIT_MB = 64
PARTIAL = ".partial"  # how the names end of files that are being written
AGAIN = "try again; what was there before is kept"


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


def write_bytes(path: Path, data: bytes, afterwards: str = AGAIN, *, mode: int = 0o666) -> None:
    """Write a file atomically: on failure, an older version stays as it was.

    Several processes may write one file at once: the last one's version stays, whole.

    Args:
        path: the file, or a link to one; missing folders are created.
        data: its whole content.
        afterwards: what to do once a full disk has room again, such as "go on with --resume".
        mode: permissions of the file, less those that the user's umask takes away.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        place = Path(os.path.realpath(path))
        if place.exists() and not place.is_file():  # such as /dev/null, not to be replaced
            place.write_bytes(data)
            return
        partial = place.with_name(f"{place.name}.{secrets.token_hex(4)}{PARTIAL}")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a power cut may leave the new name without content
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: {unwritable(error, afterwards)}") from error


def unwritable(error: OSError, afterwards: str = AGAIN, elsewhere: str = "another place") -> str:
    """Say why something cannot be written, and what to do.

    Args:
        error: what the system said.
        afterwards: what to do once a full disk has room again.
        elsewhere: what else the user may name, such as "another --out".
    """
    reason = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "there is a file, or a link to nothing, where a folder must be"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot be written ({reason}); make room, then {afterwards}"
    if error.errno == errno.EFBIG:
        return f"cannot be written ({reason}); raise the limit, ulimit -f, then {afterwards}"
    return f"cannot be written ({reason}); choose {elsewhere}"
