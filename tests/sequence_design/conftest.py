"""Tiny design tasks with every feature of the problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sysopt_gym.datasets.sequence_design.ehrlich import draw_ehrlich
from sysopt_gym.datasets.sequence_design.generator import LETTERS
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task
from sysopt_gym.envs.sequence_design.proxy import fit


def make_tiny(seed: int, batch_size: int = 5) -> DesignTask:
    """An Ehrlich function over 6 letters of 6 kinds, all sequences below its optimum known."""
    rng = np.random.default_rng(seed)
    function = draw_ehrlich(6, 6, 1, 3, 3, 0.0, rng)
    rows = np.unique(function.sample(400, 6, rng), axis=0)
    scores = function.score(rows)
    low = (scores < 1.0) & np.isfinite(scores)
    return make_task(
        f"tiny-{seed}",
        LETTERS[:6],
        rows[low],
        scores[low],
        function.handle(),
        banned=function.banned,
        batch_size=batch_size,
    )


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Iterator[None]:
    """Proxies of tiny tasks are good enough for these tests after a fraction of the steps; none of
    them is kept for other tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "FEWEST_STEPS", 80)
        patch.setattr(fit, "_REFERENCE", {})
        yield


@pytest.fixture(scope="session")
def tiny_task() -> Callable[..., DesignTask]:
    return make_tiny


@pytest.fixture
def changed() -> Callable[..., dict[str, Any]]:
    """The fields of a small valid task, some of them changed, for DesignTask(**fields)."""

    def fields(**changes: Any) -> dict[str, Any]:
        valid: dict[str, Any] = {
            "name": "four",
            "alphabet": "ACGT",
            "sequences": np.array([[0, 1], [2, 3], [1, 1], [3, 0]], np.int8),
            "scores": np.array([0.0, 1.0, 0.5, 0.25]),
            "starts": np.array([1, 2], np.int64),
            "batch_size": 2,
            "banned": np.zeros((4, 4), np.bool_),
            "oracle": '{"landscape": "measured"}',
            "hidden_sequences": np.zeros((0, 2), np.int8),
            "hidden_scores": np.zeros(0),
        }
        return valid | changes

    return fields
