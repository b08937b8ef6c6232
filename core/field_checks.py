"""Hold an instance to the declared fields of its class: what it violates, what was left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from .fields import Field, declarations, is_writable


def _declared(instance: Any) -> dict[str, Field]:
    kind: Any = type(instance)
    return declarations(kind)


def may_be_left_out(cls: type) -> set[str]:
    """Return the names that the optional fields of a class have in files."""
    return {one.stored or name for name, one in declarations(cls).items() if one.optional}


def stored_name(cls: type, name: str) -> str:
    """Return the name that a field has in files and hashes.

    Args:
        cls: the instance's class.
        name: the field's name in the code.
    """
    declaration = declarations(cls).get(name)
    return (declaration.stored if declaration else "") or name


def problem(instance: Any) -> str:
    """Return why an instance violates its declarations; empty if it does not.

    Shapes and dtypes are checked first, then names and numbers, then the entries of arrays.
    """
    fields = {
        name: (declaration, getattr(instance, name))
        for name, declaration in _declared(instance).items()
    }
    if wrong := _wrong_kind(instance):
        return wrong
    sizes = _sizes(instance)
    for name, (declaration, value) in fields.items():
        if wrong := declaration.check_form(value, sizes):
            return f"{name} has {wrong}; it is {declaration.describe()}"
    checks = (
        declaration.check_values(name, value, sizes)
        for arrays in (False, True)
        for name, (declaration, value) in fields.items()
        if declaration.IS_ARRAY is arrays
    )
    return next(filter(None, checks), "")


def _wrong_kind(instance: Any) -> str:
    """Return which field is not of its kind at all, as in a damaged file; empty if none is."""
    if not (isinstance(instance.name, str) and is_writable(instance.name)):
        return f"the name is {ascii(instance.name)[:60]}; give a text of whole characters"
    for name, declaration in _declared(instance).items():
        value = getattr(instance, name)
        left_out = value is None and declaration.optional
        if not (left_out or declaration.is_kind(value)):
            found = f"{type(value).__name__} {ascii(value)[:60]}"
            return f"{name} is {found}; it is {declaration.describe()}"
    return ""


def fill_blanks(instance: Any) -> None:
    """Give the optional arrays that were left out their blank value; changes the instance.

    Nothing is given to an instance with a field of a wrong kind, which `problem` refuses.
    """
    if _wrong_kind(instance):
        return
    for name, declaration in _declared(instance).items():
        if declaration.optional and getattr(instance, name) is None:
            blank = declaration.blank(_sizes(instance, blank=True))
            object.__setattr__(instance, name, blank)


def is_blank(instance: Any, name: str) -> bool:
    """Return whether a field is optional and has the value of one left out.

    Args:
        instance: the instance.
        name: the field's name in the code.
    """
    declaration = _declared(instance).get(name)
    if declaration is None or not declaration.optional:
        return False
    blank = declaration.blank(_sizes(instance, blank=True))
    return np.array_equal(getattr(instance, name), blank)


def _sizes(instance: Any, blank: bool = False) -> dict[str, float]:
    """Measure the sizes of symbols.

    Args:
        instance: the instance.
        blank: whether optional arrays are left out, whose own sizes are in question.
    """
    sizes: dict[str, float] = {}
    for arrays in (False, True):  # names determine a dimension's size before arrays do
        for name, declaration in _declared(instance).items():
            if declaration.IS_ARRAY is arrays and not (blank and arrays and declaration.optional):
                sizes = declaration.measure(name, getattr(instance, name)) | sizes
    return sizes
