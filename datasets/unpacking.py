"""Turn the bytes of a user's file into plain content: compression, foreign formats, text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..core.archives import most_unpacked, opened_zip, refuse_unpacked, unpacked_member
from ..core.errors import InstanceError
from ..core.instance import ZIP_MAGIC
from ..core.notes import note

MOST_LAYERS = 4  # a gzip in a zip is two
GZIP_MAGIC = b"\x1f\x8b"
_PACKED: Mapping[bytes, tuple[str, Callable[[BinaryIO], Any]]] = {
    GZIP_MAGIC: ("gzip", gzip.open), b"BZh": ("bzip2", bz2.open), b"\xfd7zXZ\x00": ("xz", lzma.open)
}  # fmt: skip

CSV = "save it as CSV (UTF-8) and give that"
# How files of other programs begin: what they are, and the remedy.
_FOREIGN = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel workbook (.xls)", f"open it and {CSV}"),
    b"PAR1": ("a Parquet file", f"open it (pandas.read_parquet) and {CSV}"),
    b"ARROW1": ("an Arrow file", f"open it (pandas.read_feather) and {CSV}"),
    b"\x89HDF": ("an HDF5 file", f"open it and {CSV}"),
    b"(\xb5/\xfd": ("compressed by zstd", "unpack it (zstd -d)"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it and give one file"),
    b"Rar!": ("a rar archive", "unpack it and give one file"),
    b"%PDF": ("a PDF", "give the table itself as CSV"),
    b"RDX": ("an R data file", "write it by write.csv(..., row.names=FALSE)"),
}
# Members by which archives of office programs are known.
_OFFICE = {
    "xl/workbook.xml": "an Excel workbook", "xl/workbook.bin": "an Excel workbook",
    "content.xml": "an OpenDocument file", "word/document.xml": "a Word document",
    "Index/Document.iwa": "a Numbers document",
}  # fmt: skip
_UTF_16_LE, _UTF_16_BE = b"\xff\xfe", b"\xfe\xff"
_TEXT_CONTROLS = frozenset(b"\t\n\r\f")  # control characters that texts may hold


def unpacked(path: Path, data: bytes) -> bytes:
    """Unpack gzip, bzip2, xz, and zips of one file that is no instance of this library.

    Args:
        path: the file, for error messages.
        data: its content.

    Raises:
        InstanceError: damaged, too large (see `most_unpacked`), or a workbook.
    """
    for _ in range(MOST_LAYERS):
        packed = next((way for magic, way in _PACKED.items() if data.startswith(magic)), None)
        if packed is not None:
            data = _decompressed(path, data, *packed)
        elif data.startswith(ZIP_MAGIC) and (name := _only_member(path, data)) is not None:
            data = member(path, data, name)
        else:
            break
    return data


def _decompressed(path: Path, data: bytes, kind: str, opener: Callable[[BinaryIO], Any]) -> bytes:
    try:
        with opener(io.BytesIO(data)) as stream:
            content: bytes = stream.read(most_unpacked() + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError) as error:
        raise InstanceError(f"{path}: damaged {kind} file ({error}); copy it again") from error
    refuse_unpacked(str(path), len(content))
    return content


def _only_member(path: Path, data: bytes) -> str | None:
    """Return the name of a zip's only file; None if it has several, or holds a saved instance."""
    names = opened_zip(str(path), data).namelist()
    office = next((what for name, what in _OFFICE.items() if name in names), None)
    if office:
        raise InstanceError(f"{path}: {office}; save the sheet as CSV (UTF-8) and give that")
    files = [name for name in names if not is_litter(name)]
    return files[0] if len(files) == 1 and not files[0].endswith((".npz", ".npy")) else None


def is_litter(name: str) -> bool:
    """Whether a member of a zip is a folder, or what a desktop put there for itself.

    Args:
        name: name of the member.
    """
    return name.endswith("/") or name.startswith("__MACOSX/") or name.split("/")[-1][:1] == "."


def member(path: Path, data: bytes, name: str) -> bytes:
    """Unpack a member of a zip.

    Args:
        path: the file, for error messages.
        data: its content.
        name: name of the member.

    Raises:
        InstanceError: see `opened_zip` and `unpacked_member`.
    """
    return unpacked_member(str(path), opened_zip(str(path), data), name)


def decoded(path: Path, data: bytes, expected: str, encoding: str | None = None) -> str:
    """Decode a text; line ends become newlines, and a byte order mark is dropped.

    UTF-8 and UTF-16 are recognized. What is neither and holds no control characters is read as
    Windows-1252 (Latin-1 is a part of it), which is said.

    Args:
        path: the file, for error messages.
        data: its content.
        expected: the formats that can be read, for the error message.
        encoding: the encoding, if it is known.

    Raises:
        InstanceError: the content is no text.
    """
    _refuse_foreign(path, data)
    chosen = encoding or _encoding(data)
    try:
        text = data.decode(chosen)
    except UnicodeDecodeError as error:
        if encoding or not _is_latin(data):
            wide = " or UTF-16" if chosen.startswith("utf-16") else ""
            raise InstanceError(
                f"{path}: neither text nor a known binary format (byte {error.start} is not "
                f"UTF-8{wide} text); give {expected}"
            ) from error
        note(
            f"{path}: byte {error.start} is not UTF-8; read as Windows-1252 (Latin-1): save it as "
            "UTF-8 if names look wrong"
        )
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _encoding(data: bytes) -> str:
    """Return the encoding that a byte order mark or the place of zero bytes tells, else UTF-8."""
    if data.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    if data.startswith((_UTF_16_LE, _UTF_16_BE)):
        return "utf-16"
    some = data[:1000]
    if len(some) > 3 and 0 in some:
        if some[1::2].count(0) > 0.8 * len(some[1::2]) and 0 not in some[0::2]:
            return "utf-16-le"
        if some[0::2].count(0) > 0.8 * len(some[0::2]) and 0 not in some[1::2]:
            return "utf-16-be"
    return "utf-8-sig"


def _is_latin(data: bytes) -> bool:
    """Whether bytes read like a text of Western Europe: no control characters, mostly ASCII."""
    controls = sum(data.count(code) for code in range(32) if code not in _TEXT_CONTROLS)
    high = len(data) - len(data.translate(None, bytes(range(128, 256))))
    return controls == 0 and high <= 0.3 * len(data)


def _refuse_foreign(path: Path, data: bytes) -> None:
    for magic, (what, remedy) in _FOREIGN.items():
        if data.startswith(magic):
            raise InstanceError(f"{path}: {what}; {remedy}")
    if data[257:262] == b"ustar":
        raise InstanceError(f"{path}: a tar archive; unpack it and give one file")
