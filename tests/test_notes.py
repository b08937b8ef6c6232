"""What a reader decided for the user is said once, and other warnings stay as they are."""

from __future__ import annotations

import warnings

import pytest
from sysopt_gym.core.notes import InputNote, note, told_to


def test_a_note_is_a_warning_in_python() -> None:
    with pytest.warns(InputNote, match="a.csv: two rows left out"):
        note("a.csv: two rows left out")


def test_told_notes_come_once_each_and_other_warnings_are_not_taken() -> None:
    told: list[str] = []
    with pytest.warns(RuntimeWarning, match="of another kind") as others, told_to(told.append):
        for _ in range(2):
            note("first")
            note("second")
        warnings.warn("of another kind", RuntimeWarning, stacklevel=1)
    assert told == ["first", "second"]
    assert [str(warning.message) for warning in others] == ["of another kind"]
