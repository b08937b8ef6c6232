"""Instance: one complete problem as a frozen dataclass of arrays, with a file format and a hash."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import numpy as np

from .archives import (
    opened_zip,
    read_arrays,
    refuse_unpacked,
    unpacked_member,
    unpacked_size,
)
from .documents import parse_json
from .errors import InstanceError
from .field_checks import fill_blanks, is_blank, may_be_left_out, problem, stored_name
from .files import opened, read_bytes, write_bytes


class _Memory:
    """Room for what `remembered` keeps with an instance; no part of its content."""

    __slots__ = ("_known",)
    _known: dict[Callable[..., Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Instance(_Memory):
    """Base class of every family's instances.

    A subclass is a frozen, slotted dataclass whose fields are NumPy arrays, strings, numbers or
    tuples of strings. Declared fields (see fields.py) are checked when the instance is built;
    conditions on several fields at once are checked in `check`.

    Attributes:
        name: name of the instance in reports; not part of its hash.
    """

    FAMILY: ClassVar[str] = ""
    SCHEMA: ClassVar[int] = 1
    OLDER_SCHEMAS: ClassVar[tuple[int, ...]] = ()  # those that `upgraded` still reads

    name: str

    def __post_init__(self) -> None:
        fill_blanks(self)
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, np.ndarray):
                value = np.ascontiguousarray(value)
                value.setflags(write=False)
                object.__setattr__(self, spec.name, value)
        if wrong := problem(self):
            self.refuse(wrong)
        self.check()

    def check(self) -> None:
        """Refuse fields that contradict each other; each field alone has been checked before.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # nothing in it changes

    def refuse(self, why: str) -> NoReturn:
        """Raise InstanceError with the instance's name before the reason.

        Args:
            why: what is wrong, and what to do about it.
        """
        raise InstanceError(f"{self.name}: {why}")

    @property
    def content_hash(self) -> str:
        """16 hex digits of a SHA-256 over every field but the name, blank ones left out; equal for
        equal problems. It is computed once for each object.
        """
        return remembered(self, Instance._hashed)

    def _hashed(self) -> str:
        digest = hashlib.sha256(f"{self.FAMILY}/{self.SCHEMA}".encode())
        for spec in fields(self):
            if spec.name == "name" or is_blank(self, spec.name):
                continue
            value = getattr(self, spec.name)
            digest.update(stored_name(type(self), spec.name).encode())
            if isinstance(value, np.ndarray):
                digest.update(f"{value.dtype.str}{value.shape}".encode())
                digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
            else:
                digest.update(json.dumps(value).encode())
        return digest.hexdigest()[:16]

    def part(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced, which is not checked again.

        It is for parts of an instance that cannot contradict each other, as the instance itself has
        been checked: checks of millions of rows take seconds.

        Args:
            **changes: values by field, of the declared types and sizes.
        """
        twin = object.__new__(type(self))
        for spec in fields(self):
            value = changes[spec.name] if spec.name in changes else getattr(self, spec.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(twin, spec.name, value)
        return twin

    def to_bytes(self) -> bytes:
        """Encode the instance as a .npz file: its arrays, and one JSON text of the other fields."""
        arrays: dict[str, np.ndarray] = {}
        meta: dict[str, Any] = {"family": self.FAMILY, "schema": self.SCHEMA, "fields": {}}
        for spec in fields(self):
            if is_blank(self, spec.name):
                continue
            value = getattr(self, spec.name)
            stored = stored_name(type(self), spec.name)
            if isinstance(value, np.ndarray):
                arrays[stored] = value
            else:
                meta["fields"][stored] = value
        buffer = io.BytesIO()
        np.savez_compressed(buffer, meta=np.array(json.dumps(meta)), **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Self:
        """Decode an instance that `to_bytes` encoded.

        Args:
            data: content of the .npz file.
            place: what errors call the file.

        Raises:
            InstanceError: not such a file, another family or schema, or an impossible instance.
        """
        arrays = read_arrays(place, data)
        schema, values = cls._described(place, arrays.pop("meta", None))
        values |= arrays
        if schema != cls.SCHEMA:
            values = cls._of_older(place, schema, values)
        stored = {stored_name(cls, spec.name): spec.name for spec in fields(cls)}
        optional = may_be_left_out(cls)
        if odd_ones := (values.keys() ^ stored.keys()) - (optional - values.keys()):
            odd = sorted(odd_ones)[0]
            raise InstanceError(
                f"{place}: field {odd!r} is missing or unknown; import the file again"
            )
        try:
            return cls(**{stored[name]: value for name, value in values.items()})
        except InstanceError as error:
            raise InstanceError(f"{place}: {error}") from error

    @classmethod
    def _described(cls, place: str, meta: np.ndarray | None) -> tuple[int, dict[str, Any]]:
        """Return the schema of a file, and its fields that are no arrays.

        Args:
            place: what errors call the file.
            meta: the array that holds the JSON text of them; None if there is none.

        Raises:
            InstanceError: the text is not as `to_bytes` writes it, or of another family or schema.
        """
        if meta is None or meta.shape != () or meta.dtype.kind != "U":
            raise InstanceError(f"{place}: not an instance file of this library; save it again")
        document = parse_json(f"{place}, array meta", str(meta))
        kept = document.get("fields") if isinstance(document, dict) else None
        if not isinstance(kept, dict):
            raise InstanceError(
                f"{place}: not an instance file of this library (no fields); save it again"
            )
        family, schema = document.get("family"), document.get("schema")
        is_known = type(schema) is int and schema in (*cls.OLDER_SCHEMAS, cls.SCHEMA)
        if family != cls.FAMILY or not is_known:
            raise InstanceError(
                f"{place}: holds {family} schema {schema}, expected "
                f"{cls.FAMILY} schema {cls.SCHEMA}; import the source file "
                "again with `sysopt-gym data import`"
            )
        return schema, {
            key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()
        }

    @classmethod
    def _of_older(cls, place: str, schema: int, values: dict[str, Any]) -> dict[str, Any]:
        """Return what `upgraded` makes of an older file's fields.

        Raises:
            InstanceError: they are not those of that schema.
        """
        try:
            return cls.upgraded(schema, values)
        except Exception as error:  # its fields have not been checked yet
            raise InstanceError(
                f"{place}: not a file of schema {schema} ({type(error).__name__}: {error}); import "
                "the source file again"
            ) from error

    @classmethod
    def upgraded(cls, schema: int, values: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an older file as those of this schema; as they are by default.

        Args:
            schema: the file's schema, one of OLDER_SCHEMAS.
            values: the file's fields by their stored names; may be changed.
        """
        return values

    def save(self, path: Path) -> None:
        """Write the instance to one file.

        Args:
            path: the file, .npz.

        Raises:
            OutputError: the file cannot be written.
        """
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an instance that `save` wrote.

        Args:
            path: the file.

        Raises:
            InstanceError: the file cannot be read; see also `from_bytes`.
        """
        return cls.from_bytes(read_bytes(path), str(path))


AnyInstance = TypeVar("AnyInstance", bound=Instance)
T = TypeVar("T")
SUFFIX = ".npz"  # of a saved instance's file name
ZIP_MAGIC = b"PK\x03\x04"


def remembered(instance: AnyInstance, make: Callable[[AnyInstance], T]) -> T:
    """Return what a function makes of an instance, computed once for each object.

    It is kept for as long as the instance is, and goes neither into files nor to other processes.

    Args:
        instance: any instance.
        make: a function of a module or class; one made at each call would be another one each time.
    """
    try:
        known = instance._known
    except AttributeError:
        known = {}
        object.__setattr__(instance, "_known", known)
    if make not in known:
        known[make] = make(instance)
    found: T = known[make]
    return found


def save_archive(instances: Sequence[Instance], path: Path) -> None:
    """Write instances to one file: a .zip with one member per instance, in order.

    Args:
        instances: instances of one family.
        path: the file. If its name ends in .npz and there is one instance, that instance is written
            as by `Instance.save`.

    Raises:
        OutputError: the file cannot be written.
    """
    if path.suffix == SUFFIX and len(instances) == 1:
        return instances[0].save(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, instance in enumerate(instances):
            member = zipfile.ZipInfo(
                f"{index:04d}{SUFFIX}"
            )  # fixed date: equal sets give equal files
            archive.writestr(member, instance.to_bytes())
    write_bytes(path, buffer.getvalue())


def holds_instances(path: Path) -> bool:
    """Whether a file is a zip of saved instances, by its members' names; also if it is damaged.

    Args:
        path: the file.

    Raises:
        InstanceError: it cannot be opened.
    """
    with opened(path) as stream:
        if stream.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
            return path.suffix == ".zip"
    try:
        names = opened_zip(str(path), read_bytes(path)).namelist()
    except InstanceError:
        return path.suffix == ".zip"
    return any(name.endswith(SUFFIX) for name in names)


def load_archive(
    kind: type[AnyInstance], path: Path, data: bytes | None = None
) -> list[AnyInstance]:
    """Read what `save_archive` or `Instance.save` wrote, one instance or several.

    Args:
        kind: the family's Instance class.
        path: the file.
        data: content of the file if it has been read already; else None.

    Raises:
        InstanceError: not such a file, or a member is damaged.
    """
    data = read_bytes(path) if data is None else data
    archive = opened_zip(str(path), data)
    names = sorted(archive.namelist())
    if "meta.npy" in names:
        return [kind.from_bytes(data, str(path))]
    if not names:
        raise InstanceError(f"{path}: an empty zip, without instances; copy or save it again")
    odd = [name for name in names if not name.endswith(SUFFIX)]
    if odd:
        raise InstanceError(
            f"{path}: holds {', '.join(odd[:5])}, no instances of this library; unzip it "
            "and give one of the files"
        )
    members = [
        (f"{path}, member {name}", unpacked_member(str(path), archive, name)) for name in names
    ]
    refuse_unpacked(str(path), sum(unpacked_size(place, member) for place, member in members))
    return [kind.from_bytes(member, place) for place, member in members]


def load_single(kind: type[AnyInstance], path: Path, data: bytes) -> AnyInstance:
    """Read an archive that must hold exactly one instance.

    Args:
        kind: the family's Instance class.
        path: the file, for errors.
        data: content of the file.

    Raises:
        InstanceError: see `load_archive`, or the archive holds another number of instances.
    """
    instances = load_archive(kind, path, data)
    if len(instances) != 1:
        raise InstanceError(
            f"{path}: a set of {len(instances)} instances where one instance is expected; unzip it "
            "and give a member"
        )
    return instances[0]
