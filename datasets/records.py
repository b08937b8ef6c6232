"""Reads JSON documents value by value and refuses bad ones by file and place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

from ..core.errors import InstanceError


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON value and where it stands, so that every refusal can say so.

    Attributes:
        file: the file's path.
        place: such as "cluster_list[0].host_info[3]".
        value: the value.
    """

    file: str
    place: str
    value: Any

    def refuse(self, why: str) -> NoReturn:
        """Raises InstanceError naming file and place."""
        raise InstanceError(f"{self.file}: {self.place}: {why}")

    def get(self, key: str) -> Record:
        """The field `key` of an object."""
        if not isinstance(self.value, dict):
            self.refuse(f"is {_kind(self.value)}, expected an object with the field {key!r}")
        if key not in self.value:
            self.refuse(f"the field {key!r} is missing; add it")
        place = key if self.place == "the document" else f"{self.place}.{key}"
        return Record(self.file, place, self.value[key])

    def has(self, key: str) -> bool:
        """Whether the object has the field, not null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def items(self) -> list[Record]:
        """The members of a list."""
        if not isinstance(self.value, list):
            self.refuse(f"is {_kind(self.value)}, expected a list")
        return [Record(self.file, f"{self.place}[{i}]", v) for i, v in enumerate(self.value)]

    def text(self) -> str:
        """A name: a text that is not empty, or a whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, (str, int)):
            self.refuse(f"is {_kind(self.value)}, expected a name")
        if self.value == "":
            self.refuse("is empty; give a name")
        return str(self.value)

    def whole(self, low: int, high: int) -> int:
        """A whole number between the bounds; 368776.0 counts as one."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(f"is {_kind(value)}, expected a whole number")
        if isinstance(value, float) and not (math.isfinite(value) and value == int(value)):
            self.refuse(f"is {value}, expected a whole number")
        if not low <= value <= high:
            self.refuse(f"is {value}, outside {low}..{high}; correct it")
        return int(value)

    def real(self, low: float, high: float) -> float:
        """A number between the bounds."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(f"is {_kind(value)}, expected a number")
        if not low <= value <= high:
            self.refuse(f"is {value}, outside {low:g}..{high:g}; correct it")
        return float(value)

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.refuse(f"is {_kind(self.value)}, expected true or false")
        return self.value

    def choice(self, names: tuple[str, ...]) -> int:
        """The place of a text among the names."""
        if not isinstance(self.value, str) or self.value not in names:
            self.refuse(f"is {self.value!r}, expected one of {', '.join(names)}")
        return names.index(self.value)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", dict: "an object", list: "a list", str: "a text"}
    return names.get(type(value), "a number")
