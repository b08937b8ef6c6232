"""Tiny random programs, their legal walks, and builders of programs, as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sysopt_gym.datasets.memory_mapping.builder import Builder
from sysopt_gym.datasets.memory_mapping.instance import Program
from tiny_programs import ROUND, make_looped_program, make_program, walk


@pytest.fixture(scope="session")
def tiny_program() -> Callable[..., Program]:
    return make_program


@pytest.fixture(scope="session")
def looped_program() -> Callable[..., Program]:
    return make_looped_program


@pytest.fixture(scope="session")
def random_walk() -> Callable[[Program, int], Any]:
    return walk


@pytest.fixture(scope="session")
def builder() -> Callable[[], Builder]:
    return lambda: Builder(ROUND)
