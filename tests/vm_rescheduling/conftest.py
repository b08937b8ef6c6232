"""Tiny random clusters with every feature of the problem, and legal walks on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.envs.vm_rescheduling.dynamics import State, Static, is_legal
from tiny_clusters import make_cluster


def make_legal_moves(static: Static, state: State) -> list[tuple[int, int, int]]:
    """Every legal (VM, PM, node)."""
    return [
        (vm, pm, node)
        for vm in range(len(state.vm_pm))
        for pm in range(len(static.pm_status))
        for node in (0, 1)
        if is_legal(static, state, vm, pm, node)
    ]


@pytest.fixture(scope="session")
def tiny_cluster() -> Callable[..., Cluster]:
    """`make_cluster`."""
    return make_cluster


@pytest.fixture(scope="session")
def legal_moves() -> Callable[[Static, State], list[tuple[int, int, int]]]:
    """`make_legal_moves`."""
    return make_legal_moves
