"""Discrete and continuous actions: multipliers that never leave the rates' ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE
from sysopt_gym.envs.federated_lr.grid import (
    ACTIONS,
    STAY,
    factors_of,
    mask_of,
    order_of_action,
    order_of_logs,
)
from sysopt_gym.envs.federated_lr.orders import ALPHA, BETA, order, rate_of

CODE = 1.2e-6  # relative distance of a rate from its code's
RANGES = (ALPHA_RANGE, BETA_RANGE)


def rates(low: float, high: float) -> st.SearchStrategy[float]:
    """Rates even in their logarithm, the limits among them."""
    logs = st.floats(np.log(low), np.log(high))
    return st.one_of(
        st.sampled_from([low, high]), logs.map(lambda x: min(max(np.exp(x), low), high))
    )


ALPHAS, BETAS = rates(*ALPHA_RANGE), rates(*BETA_RANGE)


def rates_of(row: np.ndarray) -> tuple[float, float]:
    return rate_of(int(row[ALPHA]), ALPHA_RANGE), rate_of(int(row[BETA]), BETA_RANGE)


@given(alpha=ALPHAS, beta=BETAS)
def test_to_stay_is_always_legal_and_changes_nothing(alpha: float, beta: float) -> None:
    assert factors_of(STAY) == (1.0, 1.0)
    assert mask_of(alpha, beta)[STAY] == 1
    assert rates_of(order_of_action(STAY, alpha, beta, "average")) == pytest.approx(
        (alpha, beta), rel=CODE
    )


@given(alpha=ALPHAS, beta=BETAS, action=st.integers(0, ACTIONS - 1))
def test_an_action_is_masked_out_where_it_would_leave_a_range_and_only_there(
    alpha: float, beta: float, action: int
) -> None:
    wanted = [f * rate for f, rate in zip(factors_of(action), (alpha, beta), strict=True)]
    outside = [
        not low * (1 - 1e-9) <= rate <= high * (1 + 1e-9)
        for rate, (low, high) in zip(wanted, RANGES, strict=True)
    ]
    assert mask_of(alpha, beta)[action] == (not any(outside))
    if not any(outside):
        assert rates_of(order_of_action(action, alpha, beta, "average")) == pytest.approx(
            wanted, rel=CODE
        )


def test_every_action_has_its_own_pair_of_factors_and_each_can_be_undone() -> None:
    pairs = [factors_of(action) for action in range(ACTIONS)]
    assert len(set(pairs)) == ACTIONS
    for a, b in pairs:
        assert any(c * a == pytest.approx(1) and d * b == pytest.approx(1) for c, d in pairs)


@given(alpha=ALPHAS, beta=BETAS, logs=st.tuples(*[st.floats(-1, 1)] * 2))
def test_a_continuous_action_is_a_logarithm_to_base_four_held_in_the_ranges(
    alpha: float, beta: float, logs: tuple[float, float]
) -> None:
    found = rates_of(order_of_logs(np.array(logs), alpha, beta, "average"))
    for rate, log, old, (low, high) in zip(found, logs, (alpha, beta), RANGES, strict=True):
        assert rate == pytest.approx(min(max(old * 4.0**log, low), high), rel=CODE)


@given(alpha=st.floats(allow_nan=True), beta=st.floats(allow_nan=True))
def test_whatever_rate_a_controller_wants_its_order_holds_one_in_range(
    alpha: float, beta: float
) -> None:
    for rate, (low, high) in zip(rates_of(order(alpha, beta)), RANGES, strict=True):
        assert low <= rate <= high * (1 + 1e-12)
