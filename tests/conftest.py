"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy_family
from hypothesis import settings
from sysopt_gym.datasets.sets import data_folder

# No test asserts a time, and a busy machine is slow.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture
def toy() -> Iterator[None]:
    """The toy family is registered during the test."""
    toy_family.register()
    yield
    toy_family.unregister()


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """A public file, by its path in the data folder: part of no checkout, so a test that needs one
    is skipped where no folder is named; never in CI, nor where the folder lacks the file.
    """

    def find(name: str) -> Path:
        path = data_folder() / name
        if not path.is_file():
            if "SYSOPT_DATA" in os.environ:
                pytest.fail(f"SYSOPT_DATA names a folder without {name} (no file {path})")
            if "CI" in os.environ:
                pytest.fail(f"CI must set SYSOPT_DATA to a folder with {name}")
            pytest.skip(f"the public file {name} is not at hand; set SYSOPT_DATA")
        return path

    return find
