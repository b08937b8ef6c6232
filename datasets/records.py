"""Read JSON documents value by value; errors name the file and the place in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from ..core import documents
from ..core.errors import InstanceError
from .files import listed

FLAGS: Mapping[bool, tuple[object, ...]] = {
    True: (1, "true", "yes", "1"),
    False: (0, "false", "no", "0"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON value and its place in the document.

    Attributes:
        file: the file's path.
        place: path to the value, such as "cluster_list[0].host_info[3]".
        value: the parsed value.
    """

    file: str
    place: str
    value: Any

    def refuse(self, why: str) -> NoReturn:
        """Raise InstanceError naming file and place.

        Args:
            why: what is wrong, and what to do about it.
        """
        raise InstanceError(f"{self.file}: {self.place}: {why}")

    def need(self, *keys: str) -> Self:
        """Check that the value is an object with all of the fields.

        Args:
            *keys: names of the fields.

        Returns:
            This record.

        Raises:
            InstanceError: not an object, or fields are missing; names all that are.
        """
        if not isinstance(self.value, dict):
            self.refuse(f"is {_kind(self.value)}, expected an object with {listed('field', keys)}")
        missing = [key for key in keys if key not in self.value]
        if missing:
            verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
            self.refuse(f"{listed('field', missing)} {verb} missing; add {them}")
        return self

    def get(self, key: str) -> Record:
        """Return a field of an object.

        Args:
            key: name of the field.

        Raises:
            InstanceError: see `need`.
        """
        self.need(key)
        place = key if self.place == "the document" else f"{self.place}.{key}"
        return Record(self.file, place, self.value[key])

    def has(self, key: str) -> bool:
        """Whether the value is an object that has the field, and the field is not null.

        Args:
            key: name of the field.
        """
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def items(self, *keys: str) -> list[Record]:
        """Return the members of a list.

        Args:
            *keys: fields that each member must have; none to accept members of any kind.

        Raises:
            InstanceError: not a list, or a member lacks a field.
        """
        if not isinstance(self.value, list):
            self.refuse(f"is {_kind(self.value)}, expected a list")
        found = [Record(self.file, f"{self.place}[{i}]", v) for i, v in enumerate(self.value)]
        return [record.need(*keys) for record in found] if keys else found

    def text(self) -> str:
        """Return the value as a name: a string that is not empty, or an integer as text.

        Raises:
            InstanceError: the value is neither.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, (str, int)):
            self.refuse(f"is {_kind(self.value)}, expected a name")
        if self.value == "":
            self.refuse("is empty; give a name")
        return str(self.value)

    def whole(self, low: int, high: int) -> int:
        """Return the value as an integer; 368776.0 counts as one.

        Args:
            low: least allowed value.
            high: largest allowed value.

        Raises:
            InstanceError: the value is not an integer from `low` to `high`.
        """
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(f"is {_kind(value)}, expected a whole number")
        if isinstance(value, float) and not (math.isfinite(value) and value == int(value)):
            self.refuse(f"is {value}, expected a whole number")
        if not low <= value <= high:
            self.refuse(f"is {value}, outside {low}..{high}; correct it")
        return int(value)

    def real(self, low: float, high: float) -> float:
        """Return the value as a float.

        Args:
            low: least allowed value.
            high: largest allowed value.

        Raises:
            InstanceError: the value is not a number from `low` to `high`.
        """
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(f"is {_kind(value)}, expected a number")
        if not low <= value <= high:
            self.refuse(f"is {value}, outside {low:g}..{high:g}; correct it")
        return float(value)

    def flag(self) -> bool:
        """Return the value as a boolean; 0, 1 and texts such as "false" or "Yes" count as one.

        Raises:
            InstanceError: the value is none of these.
        """
        value = self.value.strip().lower() if isinstance(self.value, str) else self.value
        if isinstance(value, (bool, int, float, str)):
            for meaning, forms in FLAGS.items():
                if value in forms:  # True equals 1 and 1.0
                    return meaning
        found = repr(self.value) if isinstance(value, (int, float, str)) else _kind(value)
        self.refuse(f"is {found}, expected true or false (0, 1, yes and no are read too)")

    def choice(self, names: tuple[str, ...]) -> int:
        """Return the index of the value among the allowed strings.

        Args:
            names: the allowed strings.

        Raises:
            InstanceError: the value is none of them.
        """
        if not isinstance(self.value, str) or self.value not in names:
            self.refuse(f"is {self.value!r}, expected one of {', '.join(names)}")
        return names.index(self.value)


def parse_json(place: str, text: str, finite: bool = True) -> Record:
    """Parse a JSON document within the bounds of core.documents.

    Args:
        place: the file, for error messages.
        text: the document.
        finite: whether NaN and infinities are refused here; see core.documents.parse_json.

    Raises:
        InstanceError: see core.documents.parse_json.
    """
    return Record(place, "the document", documents.parse_json(place, text, finite))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", dict: "an object", list: "a list", str: "a text"}
    return names.get(type(value), "a number")
