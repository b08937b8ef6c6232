"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import toy_family


@pytest.fixture
def toy() -> Iterator[None]:
    """The toy family is registered during the test."""
    toy_family.register()
    yield
    toy_family.unregister()
