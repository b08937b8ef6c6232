"""Read users' files up to a size limit, and write files atomically."""

from __future__ import annotations

import errno
import math
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO, Literal

from .errors import InstanceError, OutputError, SettingError

MEGABYTE = 2**20
LIMIT_MB = 64
PARTIAL = ".partial"  # how the names end of files that are being written
AGAIN = "try again; what was there before is kept"
_KINDS = {
    stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
# A named pipe, or a file of the kernel's, must not keep the reader waiting.
_AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


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


def user_path(text: str) -> Path:
    """Return the path that a user wrote, with ~ as the home folder.

    Args:
        text: what the user wrote.

    Raises:
        InstanceError: there is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InstanceError(
            f"{text}: there is no home folder of that user; write the path without ~"
        ) from error


def kind_of(path: Path) -> Literal["file", "folder", "nothing"]:
    """Tell what a path leads to; devices and the like are files, which `opened` refuses.

    Args:
        path: the path.

    Raises:
        InstanceError: that cannot be known: a folder on the way cannot be opened, links lead in a
            circle, or no file can have this name.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return "folder" if stat.S_ISDIR(mode) else "file"


def files_in(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name.

    Args:
        folder: the folder.

    Raises:
        InstanceError: the folder cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def opened(path: Path) -> BinaryIO:
    """Open a user's file for reading; only a regular file, which has an end.

    Args:
        path: the file.

    Raises:
        InstanceError: the file is missing, unreadable, or a pipe, a device or a folder.
    """
    try:
        handle = os.open(path, _AT_ONCE)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        what = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise InstanceError(f"{path}: is {what}, and cannot be read; copy its content into a file")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, advice: str = "", limit: int | None = None) -> bytes:
    """Read a user's whole file.

    Args:
        path: the file.
        advice: what to do about a file that is too large, such as "split the snapshot by cluster".
        limit: largest allowed size, bytes; None for `size_limit`.

    Raises:
        InstanceError: the file is missing, unreadable, no regular file, or larger than
            the limit.
        SettingError: see `size_limit`.
    """
    limit = size_limit() if limit is None else limit
    with opened(path) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            data = b"" if size > limit else _content(stream, limit + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
    size = max(size, len(data))
    if size > limit:
        raise InstanceError(
            f"{path}: {size / MEGABYTE:.0f} MB, over the limit of {limit / MEGABYTE:g} MB; "
            f"{f'{advice}, or ' if advice else ''}set SYSOPT_MAX_FILE_MB if it really is one "
            f"instance, to {math.ceil(size / MEGABYTE)} or more"
        )
    return data


def _content(stream: BinaryIO, most: int) -> bytes:
    """Read up to `most` bytes, whatever the size of the file is said to be.

    The kernel's own files say that they are empty, and one to whose end something is written has
    more than it had.
    """
    parts = []
    while most > 0 and (part := stream.read(min(most, MEGABYTE))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def read_text(path: Path) -> str:
    """Read a user's whole file as UTF-8.

    Args:
        path: the file.

    Raises:
        InstanceError: see `read_bytes`; or it is no text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InstanceError(
            f"{path}: is no text (byte {error.start} is not UTF-8); copy or save it again"
        ) from error


def _unreadable(path: Path, error: OSError | ValueError) -> InstanceError:
    """Return the error about a file that the system does not open."""
    why = getattr(error, "strerror", None) or error
    return InstanceError(f"{path}: cannot be read ({why}); correct the name, or its permissions")


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
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise OutputError(f"{path}: {unwritable(error, afterwards)}") from error


def unwritable(
    error: OSError | ValueError, afterwards: str = AGAIN, elsewhere: str = "another place"
) -> str:
    """Say why something cannot be written, and what to do.

    Args:
        error: what the system said.
        afterwards: what to do once a full disk has room again.
        elsewhere: what else the user may name, such as "another --out".
    """
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "there is a file, or a link to nothing, where a folder must be"
    number = getattr(error, "errno", 0)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot be written ({reason}); make room, then {afterwards}"
    if number == errno.EFBIG:
        return f"cannot be written ({reason}); raise the limit, ulimit -f, then {afterwards}"
    return f"cannot be written ({reason}); choose {elsewhere}"
