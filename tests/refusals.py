"""What a family says about a bad file, and how much memory it takes to say so."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from sysopt_gym.core.errors import SysOptError
from sysopt_gym.core.files import MEGABYTE
from sysopt_gym.core.registry import load_problem
from sysopt_gym.core.sources import find_instances


@contextlib.contextmanager
def little_memory(megabytes: float = 40) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


def refused(family: str, argument: str | Path) -> str:
    """Gives an argument to a family, which must refuse it, and returns the printable message."""
    with pytest.raises(SysOptError) as told:
        find_instances(load_problem(family), str(argument), {})
    said = str(told.value)
    said.encode()
    assert "\0" not in said and len(said) < 5000
    return said
