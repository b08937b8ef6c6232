"""The family is registered for these tests: it is not among the package's listed families yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sysopt_gym.core import registry
from sysopt_gym.envs.vm_allocation import FAMILY

NAME = "vm_allocation"


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    rooms = (f"sysopt_gym.agents.{NAME}", f"sysopt_gym.solvers.{NAME}")
    registry.register_family(NAME, replace(FAMILY, contenders=rooms))
    yield
    registry.tables().families.pop(NAME, None)
    registry.tables().contenders.pop(NAME, None)
