"""Read users' files, bounded in size: text, plain or packed, and archives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..core.archives import opened_zip
from ..core.errors import InstanceError
from ..core.files import read_bytes
from ..core.instance import ZIP_MAGIC
from .unpacking import decoded, member, unpacked

NO_SETTINGS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class UserFile:
    """A user's file, read whole.

    Attributes:
        path: where it is; error messages begin with it.
        data: its content; of a gzip file, unpacked.
    """

    path: Path
    data: bytes

    @property
    def stem(self) -> str:
        """The file's name up to its first dot."""
        return self.path.name.split(".")[0]

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip: a saved instance, a set of them, or another archive."""
        return self.data.startswith(ZIP_MAGIC)

    def members(self) -> list[str]:
        """Return the names of a zip's members.

        Raises:
            InstanceError: the zip is damaged.
        """
        return opened_zip(str(self.path), self.data).namelist()

    def member(self, name: str) -> UserFile:
        """Unpack a member of a zip.

        Args:
            name: name of the member.

        Raises:
            InstanceError: the zip is damaged, or the member is too large.
        """
        return UserFile(self.path, member(self.path, self.data, name))

    def text(self, expected: str = "a text file", encoding: str | None = None) -> str:
        """Decode the content; see `unpacking.decoded`.

        Args:
            expected: the formats that can be read, for the error message.
            encoding: encoding of the text, if it is known.

        Raises:
            InstanceError: the content is no text.
        """
        return decoded(self.path, self.data, expected, encoding)


def read_file(path: Path, advice: str = "") -> UserFile:
    """Read a user's whole file, and unpack it if it is compressed or a zip of one file.

    Args:
        path: the file.
        advice: what to do about a file that is too large, for the error message.

    Raises:
        InstanceError: the file is missing, unreadable, too large, damaged, or a workbook.
    """
    return UserFile(path, unpacked(path, read_bytes(path, advice)))


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Prefix InstanceErrors raised in the block with a file's name, unless they begin with it.

    Args:
        place: the file's name.
    """
    try:
        yield
    except InstanceError as error:
        if str(error).startswith(place):
            raise
        raise InstanceError(f"{place}: {error}") from error


def listed(what: str, names: Iterable[str]) -> str:
    """Join names for an error message, such as "the fields 'x', 'y'".

    Args:
        what: what the names stand for, in the singular ("field").
        names: the names.
    """
    quoted = [repr(name) for name in names]
    return f"the {what}{'s' if len(quoted) > 1 else ''} {', '.join(quoted)}"
