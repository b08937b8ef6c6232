"""Clients' rules against the packages of their authors, on convex losses in several dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dadaptation
import numpy as np
import prodigyopt
import pytest
import schedulefree
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.envs.federated_lr.local_rules import FIRST_DISTANCE, begin, descend, query
from sysopt_gym.envs.federated_lr.reference import Descent

STEPS = 40
BETA = 0.1
Gradient = Callable[[torch.Tensor], torch.Tensor]
PACKAGES: dict[str, Callable[[list[Any]], Any]] = {
    "schedule_free": lambda weights: schedulefree.SGDScheduleFree(weights, lr=BETA, momentum=0.9),
    "d_adaptation": lambda weights: dadaptation.DAdaptSGD(weights, d0=FIRST_DISTANCE),
    "prodigy": lambda weights: prodigyopt.Prodigy(weights, d0=FIRST_DISTANCE),
}
NUMBERS = {"schedule_free": 8, "d_adaptation": 9, "prodigy": 10}


def bowl(seed: int, size: int) -> tuple[torch.Tensor, Gradient]:
    """A start and the gradient of a convex loss: a quadratic with a smooth absolute value."""
    rng = np.random.default_rng(seed)
    goal, curves, start = torch.from_numpy(rng.normal(size=(3, size)) * 3)

    def gradient(w: torch.Tensor) -> torch.Tensor:
        away = w - goal
        return curves.abs() * away / 3 + away / torch.sqrt(1 + away**2)

    return start, gradient


def of_package(rule: str, start: torch.Tensor, gradient: Gradient) -> np.ndarray:
    """Weights [STEPS, P] after each step of the package's optimizer, as it would evaluate them."""
    weights = torch.nn.Parameter(start.clone())
    optimizer, seen = PACKAGES[rule]([weights]), []
    averages = hasattr(optimizer, "train")
    for _ in range(STEPS):
        if averages:
            optimizer.train()
        weights.grad = gradient(weights.detach())
        optimizer.step()
        if averages:
            optimizer.eval()
        seen.append(weights.detach().clone().numpy())
    return np.array(seen)


def of_dynamics(rule: str, start: torch.Tensor, gradient: Gradient) -> np.ndarray:
    rate = torch.tensor([[BETA]], dtype=torch.float64)
    r, seen = begin(start.clone()[None], rate, torch.zeros_like(start)[None], 1), []
    for _ in range(STEPS):
        descend(rule, r, gradient(query(rule, r)[0])[None], torch.tensor([[True]]))
        seen.append(r.w[0].clone().numpy())
    return np.array(seen)


def of_validator(rule: str, start: torch.Tensor, gradient: Gradient) -> np.ndarray:
    descent = Descent(NUMBERS[rule], BETA, start.numpy(), np.zeros(len(start)), STEPS)
    seen = []
    for _ in range(STEPS):
        descent.move(gradient(torch.from_numpy(descent.where())).numpy(), True)
        seen.append(descent.w)
    return np.array(seen)


@pytest.mark.parametrize("half", [of_dynamics, of_validator])
@pytest.mark.parametrize("rule", PACKAGES)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 9))
@settings(max_examples=6, deadline=None)
def test_a_rule_is_that_of_its_authors_package(
    rule: str, half: Callable[..., np.ndarray], seed: int, size: int
) -> None:
    start, gradient = bowl(seed, size)
    expected = of_package(rule, start, gradient)
    found = half(rule, start, gradient)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    assert np.abs(expected[-1] - start.numpy()).max() > 1e-3, "it moved"


def test_a_client_without_a_slope_stays_under_prodigy_as_in_its_package() -> None:
    start = torch.tensor([1.0, -2.0]).double()
    for half in (of_dynamics, of_validator):
        found = half("prodigy", start, torch.zeros_like)
        assert (found == start.numpy()).all()
