"""Fixtures of the tests of bad input."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from fuzz.files import FAMILIES
from sysopt_gym.core.registry import load_problem

MOST_SECONDS = 120  # a reader that waits for a pipe, or for the end of /dev/zero, waits for ever


@pytest.fixture
def in_time() -> Iterator[None]:
    """The test is ended, and fails, where it takes too long."""

    def end(*_: object) -> None:
        raise TimeoutError(f"more than {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def imported() -> None:
    """The families' code is no part of what their files cost."""
    for family in FAMILIES:
        load_problem(family).warm_up_instance()
