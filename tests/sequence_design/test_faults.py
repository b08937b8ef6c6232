"""Faults in reading, padding and summing up designs are noticed by the judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from planted import Case, Fault, check_that_the_judge_notices, plant, wrap
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.envs.sequence_design import designs, env, objective
from sysopt_gym.envs.sequence_design.designs import Designs

Tiny = Callable[..., DesignTask]


def cases(make: Tiny) -> list[Case]:
    """Plans that are complete, too short, with repeats, or with a banned pair."""
    task, rng = make(0, 8), np.random.default_rng(0)
    free = task.sequences[rng.permutation(len(task.sequences))[:8]].astype(np.int64)
    made = [free, free[:3], free[[0, 1, 1, 2, 2, 2, 3, 3]], free[:0]]
    (first, second), *_ = np.argwhere(task.banned)
    banned = free.copy()
    banned[2, 1:3] = first, second
    return [(task, plan.ravel(), World()) for plan in [*made, banned]]


def repeats_count(patch: pytest.MonkeyPatch) -> None:
    add = Designs.add

    def faulty(self: Designs, tokens: np.ndarray) -> bool:
        if not add(self, tokens):
            self.unique.append(tokens.copy())
        return True

    patch.setattr(Designs, "add", faulty)


def bans_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    append = env.append
    patch.setattr(
        env, "append", lambda tokens, at, letters, bans: append(tokens, at, letters, bans & False)
    )


def mean_for_median(patch: pytest.MonkeyPatch) -> None:
    plant(patch, objective.expected_median, lambda means: np.mean(means, axis=-1))


FAULTS: dict[str, Fault] = {
    "the mean for the median": mean_for_median,
    "repeats count": repeats_count,
    "banned pairs are legal": bans_are_forgotten,
    "the worst sequences pad the batch": wrap(
        designs.padding, lambda rows: np.ascontiguousarray(rows[::-1])
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_reading_padding_or_summing_up_is_noticed(tiny_task: Tiny, fault: str) -> None:
    check_that_the_judge_notices("sequence_design", cases(tiny_task), FAULTS[fault])
