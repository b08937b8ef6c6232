"""Tiny federations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sysopt_gym.datasets.federated_lr.instance import Federation, make_federation
from tiny_federations import make_world


@pytest.fixture
def fields() -> Callable[..., dict[str, Any]]:
    """Makes the fields of a sound federation: 8 rows with 4 clients."""

    def make(**changes: Any) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        rows, held = rng.normal(size=(8, 3)), rng.normal(size=(2, 3))
        return {
            "inputs": rows.astype(np.float32),
            "labels": np.arange(8) % 3,
            "owner": np.arange(8) % 4,
            "val_inputs": held.astype(np.float32),
            "val_labels": np.array([0, 2]),
            "test_inputs": held.astype(np.float32),
            "test_labels": np.array([1, 1]),
            "classes": 3,
            "participants": 2,
        } | changes

    return make


@pytest.fixture
def tiny(fields: Callable[..., dict[str, Any]]) -> Federation:
    """That federation."""
    return make_federation("tiny", **fields())


@pytest.fixture(scope="session")
def world() -> Callable[..., Federation]:
    """Makes a small random federation of any model, with test rows."""
    return make_world
