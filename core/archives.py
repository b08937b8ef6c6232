"""Open zips and NumPy arrays that a stranger may have made: bounds are checked before unpacking."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .errors import InstanceError
from .files import MEGABYTE, size_limit

UNPACKED = 8  # what a file unpacks to may be so many times larger than the file itself may be
MOST_MEMBERS = 10_000
MOST_HEADER = 10_000  # bytes of a .npy's
NPY = ".npy"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that zipfile unpacks piece by piece
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, KeyError,
    IndexError, OverflowError, RuntimeError, MemoryError,
)  # fmt: skip


def most_unpacked() -> int:
    """Return the most bytes that a user's file may unpack to.

    Raises:
        SettingError: see `size_limit`.
    """
    return UNPACKED * size_limit()


def refuse_unpacked(place: str, size: int) -> None:
    """Refuse what unpacks to more than `most_unpacked`.

    Args:
        place: what errors call the file.
        size: bytes that it unpacks to, or that have been unpacked so far.

    Raises:
        InstanceError: it is too much.
        SettingError: see `size_limit`.
    """
    most = most_unpacked()
    if size > most:
        raise InstanceError(
            f"{place}: holds more than {most / MEGABYTE:g} MB; unpack it and give a part, or set "
            "SYSOPT_MAX_FILE_MB if it really is one instance"
        )


@contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turn what zipfile raises about a damaged zip into InstanceError."""
    try:
        yield
    except _DAMAGED as error:
        raise InstanceError(f"{place}: damaged ({error}); copy or save it again") from error


def opened_zip(place: str, data: bytes) -> zipfile.ZipFile:
    """Open a zip whose members can be unpacked within the bounds.

    What zipfile unpacks of a member is never more than the zip's directory says, and this sum is
    checked here.

    Args:
        place: what errors call the file.
        data: its content.

    Raises:
        InstanceError: the zip is damaged, encrypted, packed in a way that is not read, or holds
            too much.
        SettingError: see `size_limit`.
    """
    with _reading(place):
        archive = zipfile.ZipFile(io.BytesIO(data))
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise InstanceError(
            f"{place}: holds {len(members)} files, more than {MOST_MEMBERS}; give a part"
        )
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in _METHODS:
            what = "is encrypted" if member.flag_bits & 1 else "is packed in an unusual way"
            raise InstanceError(
                f"{place}: {member.filename!r} in it {what}; unzip it and give the file in it"
            )
    refuse_unpacked(place, sum(member.file_size for member in members))
    return archive


def unpacked_member(place: str, archive: zipfile.ZipFile, name: str) -> bytes:
    """Unpack a member of a zip.

    Args:
        place: what errors call the file.
        archive: what `opened_zip` returned.
        name: name of the member.

    Raises:
        InstanceError: the member is damaged.
    """
    with _reading(place):
        return archive.read(name)


def unpacked_size(place: str, data: bytes) -> int:
    """Return how many bytes the members of a zip unpack to.

    Args:
        place: what errors call the file.
        data: its content.

    Raises:
        InstanceError: see `opened_zip`.
    """
    return sum(member.file_size for member in opened_zip(place, data).infolist())


def read_arrays(place: str, data: bytes) -> dict[str, np.ndarray]:
    """Read a .npz file.

    Args:
        place: what errors call the file.
        data: its content.

    Returns:
        Each array by its name.

    Raises:
        InstanceError: see `opened_zip` and `read_array`; or a member is no array.
    """
    archive = opened_zip(place, data)
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise InstanceError(f"{place}: holds two arrays of one name; save it again")
    return {
        name.removesuffix(NPY): read_array(
            f"{place}, array {name.removesuffix(NPY)}", unpacked_member(place, archive, name)
        )
        for name in names
    }


def read_array(place: str, data: bytes) -> np.ndarray:
    """Read a .npy file; its header must tell the size of the data that follows it.

    NumPy's own reader allocates what the header says, before it looks for the data.

    Args:
        place: what errors call the file.
        data: its content.

    Raises:
        InstanceError: no such file, one of Python objects, or one cut off.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, is_fortran, dtype = read_header(stream, max_header_size=MOST_HEADER)
    except Exception as error:  # the header is Python text: what its parsers raise is not told
        raise InstanceError(
            f"{place}: no readable array ({type(error).__name__}: {error}); save it again"
        ) from error
    if dtype.hasobject:
        raise InstanceError(f"{place}: holds Python objects; save numbers")
    size, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if min(shape, default=0) < 0 or dtype.itemsize == 0 or size != there:
        raise InstanceError(
            f"{place}: no readable array (its header says {dtype} {list(shape)}, {there} bytes "
            "follow); copy or save it again"
        )
    try:
        view: np.ndarray = np.ndarray(
            shape, dtype, data, stream.tell(), order="F" if is_fortran else "C"
        )
        return view.copy(order="K")  # in memory of its own, aligned
    except (ValueError, TypeError, MemoryError) as error:
        raise InstanceError(f"{place}: no readable array ({error}); save it again") from error
