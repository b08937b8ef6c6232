"""AutoLRS: what it predicts, where it looks next, and how its stages are played."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.envs.federated_lr.orders import BETA, CHECKPOINT, GO_ON, KEEP, RETURN, constant
from sysopt_gym.solvers.federated_lr.autolrs import (
    TRIALS,
    AutoLRS,
    plan,
    predict,
    propose,
    trial_rounds,
)
from sysopt_gym.solvers.federated_lr.fixed import fedavg
from toy_quadratic import info, play, terms

LIMITS = (0.001, 0.1)


@given(st.floats(0.1, 3.0), st.floats(-2.0, -0.1), st.floats(0.0, 2.0))
def test_an_exponential_is_predicted_as_it_goes_on(a: float, b: float, c: float) -> None:
    def loss(x: float) -> float:
        return float(a * np.exp(b * x) + c)

    predicted = predict([loss(x) for x in range(5)], 30)
    assert predicted == pytest.approx(loss(30), abs=0.05 * a)


def test_of_two_falls_the_steeper_is_predicted_lower() -> None:
    assert predict([2.0, 1.7, 1.5, 1.4], 30) < predict([2.0, 1.95, 1.91, 1.88], 30)


def test_a_line_is_not_followed_below_zero() -> None:
    assert 0.0 <= predict([1.0, 0.8, 0.6, 0.4], 30) < 0.4


@pytest.mark.parametrize("losses", [[2.0, 1.5], [2.0, 1.0, 2.5], [2.0]])
def test_too_few_or_risen_losses_are_predicted_to_stay(losses: list[float]) -> None:
    assert predict(losses, 30) == losses[-1]


def test_exploring_looks_farthest_from_what_it_knows() -> None:
    first = propose([(0.01, 1.0)], LIMITS, 1e6)
    assert first == pytest.approx(0.001)
    second = propose([(0.01, 1.0), (first, 0.2)], LIMITS, 1e6)
    assert second == pytest.approx(0.1)


def test_without_exploring_it_stays_with_the_best() -> None:
    tried = [(0.001, 2.0), (0.0032, 1.0), (0.01, 0.5), (0.032, 0.9), (0.1, 3.0)]
    assert 0.006 < propose(tried, LIMITS, 0.0) < 0.02


@pytest.mark.parametrize(
    ("rounds", "starts", "tau"),
    [(1, (), 0), (19, (), 0), (20, (0,), 10), (50, (0,), 30), (100, (0, 50), 30)],
)
def test_stages_are_scaled_to_the_rounds(rounds: int, starts: tuple[int, ...], tau: int) -> None:
    assert plan(rounds) == (starts, tau)


@given(st.integers(20, 1000))
def test_search_and_use_fit_into_each_stage(rounds: int) -> None:
    starts, tau = plan(rounds)
    lengths = np.diff([*starts, rounds])
    search = TRIALS * (trial_rounds(tau) + 1)
    assert (lengths >= search + tau).all()
    assert search <= 0.55 * lengths.min()


def test_a_stage_keeps_returns_after_each_trial_and_then_settles() -> None:
    game = play(AutoLRS(), terms(50, beta=0.02))
    marks = game.orders[:, CHECKPOINT]
    assert np.flatnonzero(marks == KEEP).tolist() == [0]
    assert np.flatnonzero(marks == RETURN).tolist() == [4, 8, 12, 16, 20]
    assert (marks[21:] == GO_ON).all()
    tried = game.orders[[0, 4, 8, 12, 16], BETA]
    assert len(set(tried)) == TRIALS
    for start, code in zip([0, 4, 8, 12, 16], tried, strict=True):
        assert (game.orders[start : start + 4, BETA] == code).all()
    assert set(game.orders[20:, BETA]) < set(tried)


def test_the_trial_of_least_predicted_loss_is_settled_on() -> None:
    game = play(AutoLRS(), terms(50, beta=0.02))
    predicted = [predict(game.losses[s + 1 : s + 5], 30) for s in (0, 4, 8, 12, 16)]
    assert game.orders[20, BETA] == game.orders[4 * int(np.argmin(predicted)), BETA]


def test_each_stage_searches_anew_from_the_present_rate() -> None:
    game = play(AutoLRS(), terms(100, beta=0.02))
    assert np.flatnonzero(game.orders[:, CHECKPOINT] == KEEP).tolist() == [0, 50]
    assert game.orders[50, BETA] == game.orders[49, BETA] != game.orders[0, BETA]


def test_it_mends_a_low_rate() -> None:
    low = terms(100, beta=0.005)
    assert play(AutoLRS(), low).final < 0.5 * play(fedavg(), low).final


def test_with_too_few_rounds_the_rate_stays() -> None:
    short = terms(19)
    assert (play(AutoLRS(), short).orders == constant(short)).all()


def test_a_trial_that_doubles_the_loss_ends_at_once() -> None:
    policy = AutoLRS()
    policy.reset(terms(50), Budget(1.0), 0)
    losses = [1.0, 1.0, 2.5]
    orders = [policy.act(None, info(s, validation_loss=loss)) for s, loss in enumerate(losses)]
    assert [order[CHECKPOINT] for order in orders] == [KEEP, GO_ON, RETURN]
    assert orders[2][BETA] != orders[1][BETA]
