"""Declarations of instance fields: dtype, shape, range, unit and meaning, in one place.

A declaration is both the check and the documentation of a field, so that the two cannot differ:

    @declared
    class Cluster(Instance):
        pm_ids: tuple[str, ...] = names("P", "the PMs")
        pm_rack: np.ndarray = array("int64", "P", "rack of each PM")
        vm_pm: np.ndarray = array("int64", "V", "host of each VM", low=0, high="P-1")

Dimensions are symbols. A symbol's size is the number of names declared with it, or else the size of
the first array that has the bare symbol as a dimension. `S+1` is one more than `S`, a number is
itself, and a last dimension `...` stands for any further dimensions.

A field may be optional. Where it is not given it is blank: zeros of the declared shape (of size 0
where nothing else says the size), an empty text, no names, 0. A blank field is neither stored nor
hashed, so that an instance without it is the same as before the field was declared.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

T = TypeVar("T")
Bound = float | str | None  # a number, an expression such as "P-1", or None for no limit
Sizes = Mapping[str, float]  # symbol -> size, and name -> value of numeric fields
LARGEST_INT = np.iinfo(np.int64).max
BLANK = "blank"  # the default of a field that may be left out; type checkers look for `default`


def is_writable(text: str) -> bool:
    """Whether a text can be written to files and terminals: it holds no half of a character.

    Args:
        text: perhaps of a JSON document, whose escapes may be such halves.
    """
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Declaration of a field; used directly for strings and other values without a check.

    Attributes:
        doc: what the field holds.
        stored: the field's name in files and hashes; empty if it is the same.
        remedy: what to do about an impossible value, for error messages; empty for the default.
        optional: whether the field may be left blank.
    """

    IS_ARRAY: ClassVar[bool] = False
    doc: str
    stored: str = ""
    remedy: str = ""
    optional: bool = False

    def blank(self, sizes: Sizes) -> Any:
        """Return the value of an optional field that is not given.

        Args:
            sizes: size of each symbol that the other fields determine.
        """
        return ""

    def describe(self) -> str:
        """Return the documentation of the field: its kind, its range and what it holds."""
        return self.doc

    def measure(self, name: str, value: Any) -> dict[str, float]:
        """Return the sizes of symbols that a value of this field determines.

        Args:
            name: the field's name.
            value: the field's value.

        Returns:
            Symbol -> its size; also the field's own name -> its value, for numbers.
        """
        return {}

    def is_kind(self, value: Any) -> bool:
        """Whether a value is of the field's kind at all: a text, a number, names, an array.

        Args:
            value: the field's value, as a file may hold it.
        """
        return isinstance(value, str) and is_writable(value)

    def check_form(self, value: Any, sizes: Sizes) -> str:
        """Return what is wrong with a value's shape or dtype; empty if nothing is.

        Args:
            value: the field's value.
            sizes: size of each symbol.
        """
        return ""

    def check_values(self, name: str, value: Any, sizes: Sizes) -> str:
        """Return why a value of the right shape and dtype is impossible; empty if it is possible.

        Args:
            name: the field's name.
            value: the field's value.
            sizes: size of each symbol.
        """
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names(Field):
    """Declaration of a tuple of names, or of the characters of one string."""

    symbol: str
    unique: bool
    empty: str

    def blank(self, sizes: Sizes) -> Any:
        return ()

    def is_kind(self, value: Any) -> bool:
        """Whether a value is a tuple of texts, or one text."""
        each = (value,) if isinstance(value, str) else value
        return isinstance(each, tuple) and all(isinstance(n, str) and is_writable(n) for n in each)

    def describe(self) -> str:
        return f"{self.symbol} names{', all different' * self.unique}. {self.doc}"

    def measure(self, name: str, value: Any) -> dict[str, float]:
        return {self.symbol: len(value)}

    def check_values(self, name: str, value: Any, sizes: Sizes) -> str:
        if not value:
            return self.empty
        if self.unique and len(set(value)) < len(value):
            twice = Counter(value).most_common(1)[0][0]
            return f"{name}: {twice!r} appears twice; names must be unique"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice(Field):
    """Declaration of a string that must be one of several."""

    known: tuple[str, ...]

    def describe(self) -> str:
        return f"one of {', '.join(self.known)}. {self.doc}"

    def check_values(self, name: str, value: Any, sizes: Sizes) -> str:
        known = f"{name} {value!r} is unknown; known: {', '.join(self.known)}"
        return "" if value in self.known else known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranged(Field):
    """Declaration of numbers within a range."""

    low: Bound
    high: Bound
    unit: str

    def facts(self, kind: str) -> str:
        low = "" if self.low is None else f", {_text(self.low)}.."
        high = "" if self.high is None else _text(self.high)
        return f"{kind}{low}{high}{', ' * bool(self.unit)}{self.unit}. {self.doc}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Number(_Ranged):
    """Declaration of one number."""

    whole: bool
    positive: bool

    def blank(self, sizes: Sizes) -> Any:
        return 0

    def is_kind(self, value: Any) -> bool:
        """Whether a value is a number that NumPy holds; True and False are none."""
        if isinstance(value, int) and not isinstance(value, bool):
            return abs(value) <= LARGEST_INT
        return isinstance(value, float | np.integer | np.floating)

    def describe(self) -> str:
        return self.facts(("int" if self.whole else "float") + ", above 0" * self.positive)

    def measure(self, name: str, value: Any) -> dict[str, float]:
        return {name: value}

    def check_values(self, name: str, value: Any, sizes: Sizes) -> str:
        low, high = _size(self.low, sizes), _size(self.high, sizes)
        if (
            (isinstance(value, int | np.integer) if self.whole else np.isfinite(value))
            and (low is None or value >= low)
            and (high is None or value <= high)
            and not (self.positive and value <= 0)
        ):
            return ""
        kind = "positive finite " if self.positive else "whole " if self.whole else ""
        advice = f"give a {kind}number"
        advice += "" if low is None else f" from {_text(low)}"
        advice += "" if high is None else f" to {_text(high)}"
        unit = f" {self.unit}" if self.unit else ""
        return f"{name} is {_text(value)}{unit}; {self.remedy or advice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Array(_Ranged):
    IS_ARRAY: ClassVar[bool] = True
    """Declaration of a NumPy array."""

    dtypes: tuple[str, ...]
    exact: bool
    shape: tuple[str, ...]
    empty: str

    def blank(self, sizes: Sizes) -> Any:
        known = (_size(size, sizes) for size in self.shape)
        shape = tuple(0 if isinstance(size, str) else int(size or 0) for size in known)
        return np.zeros(shape, self.dtypes[0])

    def is_kind(self, value: Any) -> bool:
        """Whether a value is an array."""
        return isinstance(value, np.ndarray)

    def describe(self) -> str:
        return self.facts(f"{' or '.join(self.dtypes)} [{', '.join(self.shape)}]")

    def measure(self, name: str, value: Any) -> dict[str, float]:
        pairs = zip(self.shape, value.shape, strict=False)
        return {symbol: size for symbol, size in pairs if symbol.isidentifier()}

    def check_form(self, value: Any, sizes: Sizes) -> str:
        leading = self.shape[:-1] if self.shape[-1] == "..." else self.shape
        expected = tuple(_size(size, sizes) for size in leading)
        found = value.shape[: len(leading)] if leading != self.shape else value.shape
        if found != expected:
            sizes_text = ", ".join(map(_text, expected)) + "," * (len(expected) == 1)
            return f"shape {value.shape}, expected ({sizes_text})"
        kinds = [np.dtype(dtype).kind for dtype in self.dtypes]
        if value.dtype.name in self.dtypes or (not self.exact and value.dtype.kind in kinds):
            return ""
        return f"dtype {value.dtype}, expected {' or '.join(self.dtypes)}"

    def check_values(self, name: str, value: Any, sizes: Sizes) -> str:
        if not len(value):
            return self.empty
        low, high = _size(self.low, sizes), _size(self.high, sizes)
        limited, floating = low is not None or high is not None, value.dtype.kind == "f"
        if not (limited or floating):
            return ""
        if value.size and _within(value.min(), value.max(), low, high):
            return ""  # without arrays as large as the value
        bad = ~np.isfinite(value) if floating else np.zeros(value.shape, np.bool_)
        if low is not None:
            bad |= value < low
        if high is not None:
            bad |= value > high
        if not bad.any():
            return ""
        place = tuple(np.argwhere(bad)[0].tolist())
        low_text, high_text = ("" if size is None else _text(size) for size in (low, high))
        outside = f", outside {low_text}..{high_text}" if limited else ""
        advice = self.remedy or ("" if limited else "give a finite number")
        return f"{name}{list(place)} is {value[place]}{outside}{'; ' * bool(advice)}{advice}"


def array(
    dtype: str,
    shape: str,
    doc: str,
    *,
    low: Bound = None,
    high: Bound = None,
    unit: str = "",
    exact: bool = False,
    empty: str = "",
    remedy: str = "",
    stored: str = "",
    default: str = "",
) -> Any:
    """Declare a NumPy array; entries of floating-point arrays must be finite.

    Args:
        dtype: the dtype, or several, separated by "|".
        shape: the dimensions, separated by commas, such as "P,2" or "N,...".
        doc: what the array holds.
        low: least allowed entry.
        high: largest allowed entry.
        unit: unit of the entries.
        exact: whether a dtype of the same kind but another width (int32 for int64) is refused.
        empty: error message for an array without rows; empty if such an array is allowed.
        remedy: what to do about an impossible entry, for the error message.
        stored: the field's name in files and hashes, if it differs.
        default: BLANK if it may be left out; it is zeros then.
    """
    return _field(
        _Array(
            doc=doc, stored=stored, remedy=remedy, low=low, high=high, unit=unit, exact=exact,
            dtypes=tuple(dtype.split("|")), shape=tuple(shape.split(",")), empty=empty,
            optional=default == BLANK,
        )
    )  # fmt: skip


def number(
    doc: str,
    *,
    low: Bound = None,
    high: Bound = None,
    positive: bool = False,
    unit: str = "",
    remedy: str = "",
) -> Any:
    """Declare a finite floating-point number.

    Args:
        doc: what the number is.
        low: least allowed value.
        high: largest allowed value.
        positive: whether 0 and negative values are refused.
        unit: unit of the number.
        remedy: what to do about an impossible value, for the error message.
    """
    return _field(
        _Number(
            doc=doc, remedy=remedy, low=low, high=high, unit=unit, whole=False, positive=positive
        )
    )


def whole(
    doc: str,
    *,
    low: Bound = None,
    high: Bound = None,
    unit: str = "",
    remedy: str = "",
    default: str = "",
) -> Any:
    """Declare an integer; bounds of other fields may name it.

    Args:
        doc: what the number is.
        low: least allowed value.
        high: largest allowed value.
        unit: unit of the number.
        remedy: what to do about an impossible value, for the error message.
        default: BLANK if it may be left out; it is 0 then.
    """
    return _field(
        _Number(
            doc=doc, remedy=remedy, low=low, high=high, unit=unit, whole=True, positive=False,
            optional=default == BLANK,
        )
    )  # fmt: skip


def names(
    symbol: str,
    doc: str,
    *,
    unique: bool = True,
    empty: str = "",
    stored: str = "",
    default: str = "",
) -> Any:
    """Declare the names of a dimension's rows: strings, or the characters of one string.

    Args:
        symbol: the dimension's symbol; its size is the number of names.
        doc: what is named.
        unique: whether a name that appears twice is refused.
        empty: error message if there are no names; empty if that is allowed.
        stored: the field's name in files and hashes, if it differs.
        default: BLANK if they may be left out; there are none then.
    """
    return _field(
        _Names(
            doc=doc, stored=stored, symbol=symbol, unique=unique, empty=empty,
            optional=default == BLANK,
        )
    )  # fmt: skip


def choice(known: Sequence[str], doc: str) -> Any:
    """Declare a string that must be one of several.

    Args:
        known: the strings that are allowed.
        doc: what is chosen.
    """
    return _field(_Choice(doc=doc, known=tuple(known)))


def string(doc: str, *, default: str = "") -> Any:
    """Declare a string without a check.

    Args:
        doc: what it says.
        default: BLANK if it may be left out; it is empty then.
    """
    return _field(Field(doc=doc, optional=default == BLANK))


def _field(declaration: Field) -> Any:
    metadata = {"declaration": declaration}
    if not declaration.optional:
        return dataclasses.field(metadata=metadata)
    # The size of an array left out is known when the instance is built; see fill_blanks.
    blank = None if isinstance(declaration, _Array) else declaration.blank({})
    return dataclasses.field(default=blank, metadata=metadata)


@dataclass_transform(
    frozen_default=True,
    eq_default=False,
    field_specifiers=(array, number, whole, names, choice, string),
)
def declared(cls: type[T]) -> type[T]:
    """Make a class of declared fields a frozen, slotted dataclass whose docstring lists them."""
    made = dataclass(frozen=True, slots=True, eq=False)(cls)
    made.__doc__ = f"{inspect.cleandoc(made.__doc__ or '')}\n\nAttributes:\n{describe(made)}\n"
    return made


@cache
def declarations(cls: type) -> dict[str, Field]:
    """Return the declaration of each declared field of a class, by name and in order."""
    found = {spec.name: spec.metadata.get("declaration") for spec in dataclasses.fields(cls)}
    return {name: declaration for name, declaration in found.items() if declaration}


def describe(cls: type) -> str:
    """Return the documentation of a class's declared fields, one indented entry per field."""
    return "\n".join(
        textwrap.fill(f"{name}: {declaration.describe()}", 100, initial_indent=" " * 4,
                      subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False)
        for name, declaration in declarations(cls).items()
    )  # fmt: skip


def _within(least: Any, most: Any, low: Bound, high: Bound) -> bool:
    """Return whether numbers from `least` to `most` are finite and between the bounds."""
    return bool(
        np.isfinite(least)
        and np.isfinite(most)
        and (low is None or least >= low)
        and (high is None or most <= high)
    )


def _size(bound: Bound, sizes: Sizes) -> Bound:
    """Return the number that an expression stands for; the expression if its symbol is unknown."""
    if not isinstance(bound, str):
        return bound
    symbol, offset = re.fullmatch(r"(\w+?)([+-]\d+)?", bound).groups()  # type: ignore[union-attr]
    base = int(symbol) if symbol.isdecimal() else sizes.get(symbol)
    return bound if base is None else base + int(offset or 0)


def _text(bound: Bound) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)
