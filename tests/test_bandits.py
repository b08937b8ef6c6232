"""Bandits: probabilities by the log barrier are the minimizer, and their regret is bounded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.methods.bandits import (
    estimate,
    exponential_weights,
    learning_rate,
    log_barrier,
)

ETAS = st.floats(1e-2, 10.0)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), ETAS)
def test_probabilities_add_up_to_one_whatever_the_losses(losses: list[float], eta: float) -> None:
    summed = np.array(losses)
    p = log_barrier(summed, eta)
    assert abs(p.sum() - 1.0) <= 1e-12 and (p > 0.0).all()
    order = np.argsort(summed)
    assert all(p[worse] <= p[better] for better, worse in pairwise(order))
    # 1/p differs between arms by what eta times the losses do, and by nothing else.
    held = eta * (summed - summed.min())
    assert np.allclose(1.0 / p - held, (1.0 / p - held)[0], rtol=1e-9, atol=1e-9 * held.max())


def test_an_arm_alone_and_arms_alike() -> None:
    assert log_barrier(np.array([-7.0]), 3.0) == pytest.approx([1.0], abs=1e-15)
    assert log_barrier(np.full(4, 1e300), 1.0) == pytest.approx(np.full(4, 0.25), abs=1e-15)
    # Two arms whose losses differ by 1.5 at eta = 1: 2/3 and 1/3, for 3 - 1.5 = 1.5.
    assert log_barrier(np.array([0.0, 1.5]), 1.0) == pytest.approx([2 / 3, 1 / 3], abs=1e-12)


@pytest.mark.parametrize("losses", [(0.0, 1.0, 3.0), (-20.0, 5.0, -19.0), (0.1, 0.1, -0.4)])
@pytest.mark.parametrize("eta", [0.3, 2.0])
def test_no_point_of_the_simplex_is_better(losses: tuple[float, ...], eta: float) -> None:
    summed = np.array(losses)
    steps = np.linspace(0.0, 1.0, 1001)[1:-1]
    first, second = (one.ravel() for one in np.meshgrid(steps, steps))
    inside = first + second < 1.0 - 1e-9
    points = np.stack([first, second, 1.0 - first - second], axis=1)[inside]

    def value(p: np.ndarray) -> np.ndarray:
        found: np.ndarray = p @ summed + np.log(1.0 / p).sum(axis=-1) / eta
        return found

    best = points[value(points).argmin()]
    p = log_barrier(summed, eta)
    assert value(p) <= value(points).min() + 1e-12
    assert p == pytest.approx(best, abs=2e-3)


@given(
    st.integers(2, 6), st.integers(1, 60), ETAS, st.floats(0.01, 100.0), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_regret_is_within_its_bound(
    arms: int, plays: int, eta: float, size: float, bandit: bool, seed: int
) -> None:
    """sum <p_t - u, l_t> <= (R(u) - R(p_1)) / eta + eta sum_t sum_i p_ti l_ti^2, of losses of any
    sign, all seen or only the played arm's, and even with p_ti^2 in place of p_ti.
    """
    rng = np.random.default_rng(seed)
    u = rng.dirichlet(np.ones(arms)) * 0.99 + 0.01 / arms
    summed, regret, second = np.zeros(arms), 0.0, 0.0
    for _ in range(plays):
        p = log_barrier(summed, eta)
        losses = rng.uniform(-size, size, arms)
        if bandit:
            arm = int(rng.choice(arms, p=p))
            losses = estimate(losses[arm], arm, p)
        regret += float((p - u) @ losses)
        second += float((p**2 * losses**2).sum())
        summed += losses
    bound = (np.log(1.0 / u).sum() - arms * np.log(arms)) / eta + eta * second
    assert regret <= bound + 1e-9 * (1.0 + abs(bound))


def test_the_estimate_is_right_on_average() -> None:
    losses, p = np.array([-3.0, 0.5, 40.0]), np.array([0.7, 0.2, 0.1])
    whole = sum(p[arm] * estimate(losses[arm], arm, p) for arm in range(3))
    assert whole == pytest.approx(losses)


def test_exponential_weights_and_the_learning_rate() -> None:
    p = exponential_weights(np.array([-1e4, -1e4 + 2.0]), 0.5)
    assert p == pytest.approx([np.e / (1 + np.e), 1 / (1 + np.e)])
    assert learning_rate(3, 40) == pytest.approx(0.52599, abs=1e-5)
    assert learning_rate(2, 0) == learning_rate(2, 2)
