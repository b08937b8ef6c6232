"""The bandit among fixed rates: which arm a loss is of, when it counts, what follows from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.envs.federated_lr.orders import BETA
from sysopt_gym.methods.bandits import log_barrier
from sysopt_gym.solvers.federated_lr.ftrl import ARMS, BLOCK, FIRST, FTRL, LARGEST, UNIT
from toy_quadratic import info, terms

ROUNDS = 50
CODES = [int(one.plan(1)[0][BETA]) for one in ARMS]


def played(levels: Any, seed: int = 0) -> tuple[FTRL, list[int]]:
    """The controller, and the arms that it played, after validation losses whose logarithms are
    given: a list, or a function of the arms so far.
    """
    policy, arms = FTRL(), list[int]()
    policy.reset(terms(ROUNDS), Budget(1.0), seed)
    for step in range(ROUNDS + 1 if callable(levels) else len(levels)):
        level = levels(arms) if callable(levels) else levels[step]
        order = policy.act(None, info(step, validation_loss=float(np.exp(level))))
        arms.append(CODES.index(order[BETA]))
    return policy, arms


def test_an_arm_is_played_for_a_block_of_rounds_and_the_first_is_given() -> None:
    for seed in range(20):
        arms = np.array(played(lambda arms: 0.0, seed)[1])
        assert (arms[:BLOCK] == FIRST).all()
        assert all(len(set(arms[at : at + BLOCK])) == 1 for at in range(0, ROUNDS + 1, BLOCK))
    # With nothing to choose by, every draw is even.
    drawn = [arm for seed in range(60) for arm in played(lambda arms: 0.0, seed)[1][BLOCK::BLOCK]]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.06)


def test_a_rise_counts_for_the_arm_of_its_round_once_it_is_seen() -> None:
    levels = [0.0, 0.0, -0.1, 0.1, 0.1]  # seen before the order of each step
    policy, _ = played(levels[:2])
    assert (policy.losses == 0.0).all()  # no round has been applied
    even = 1.0 / len(ARMS)  # of the first arm, although it is given
    for seen, total in ((3, -0.1), (4, 0.1), (5, 0.1)):
        policy, arms = played(levels[:seen])
        assert arms[: min(seen, BLOCK)] == [FIRST] * min(seen, BLOCK)
        assert policy.losses[FIRST] == pytest.approx(total / UNIT / even)
        assert np.delete(policy.losses, FIRST).tolist() == [0.0]


def test_the_last_round_of_a_block_counts_for_its_own_arm_after_the_next_is_drawn() -> None:
    # It rises when the last round of the first block is seen: by then another arm may be playing.
    levels = [*[0.0] * (BLOCK + 1), 0.2]
    others = 0
    for seed in range(10):
        policy, arms = played(levels, seed)
        assert policy.losses[FIRST] == pytest.approx(0.2 / UNIT * len(ARMS))
        others += arms[BLOCK] != FIRST
    assert others


def test_a_round_is_divided_by_the_probability_that_its_arm_was_drawn_with() -> None:
    first = [0.0, 0.0, 0.05, *[0.05] * (BLOCK - 2)]  # before the second draw
    policy, _ = played(first)
    p = log_barrier(policy.losses.copy(), policy.eta)
    after, arms = played([*first, 0.05, 0.05, 0.15])
    now = arms[BLOCK]
    gained = after.losses - policy.losses
    assert gained[now] == pytest.approx(0.1 / UNIT / p[now])


def test_no_round_counts_for_more_than_the_largest_loss() -> None:
    policy, _ = played([0.0, 0.0, -3.0])
    assert policy.losses[FIRST] == pytest.approx(-LARGEST * len(ARMS))
    policy = FTRL()
    policy.reset(terms(3), Budget(1.0), 0)
    for step, loss in enumerate((1.0, 1.0, 0.0, 1e300)):
        policy.act(None, info(step, validation_loss=loss, initial_loss=1.0))
    assert np.isfinite(policy.losses).all()


@pytest.mark.parametrize("good", range(len(ARMS)))
def test_it_stays_with_the_arm_under_which_the_loss_falls(good: int) -> None:
    def level(arms: list[int]) -> float:
        """Fall by 5 % a round under the good arm and rise by that under others."""
        seen = arms[: max(len(arms) - 1, 0)]
        return 0.05 * sum(-1 if arm == good else 1 for arm in seen)

    late = [np.mean(np.array(played(level, seed)[1][20:]) == good) for seed in range(10)]
    assert np.mean(late) > 0.9


def test_an_arm_that_turns_bad_is_left() -> None:
    def level(arms: list[int]) -> float:
        """The first arm is good for 12 rounds, then bad, and the others the other way round."""
        seen = arms[: max(len(arms) - 1, 0)]
        return 0.05 * sum(-1 if (arm == FIRST) == (at < 12) else 1 for at, arm in enumerate(seen))

    late = [np.mean(np.array(played(level, seed)[1][-9:]) != FIRST) for seed in range(10)]
    assert np.mean(late) > 0.5
