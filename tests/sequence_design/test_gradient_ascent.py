"""Gradient ascent: its gradients by differences, the minimum of an ensemble, and Adaptive-eta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.envs.sequence_design.proxy import Ensemble, fit_proxy
from sysopt_gym.methods.sequence_design.adam import RATE, RATE_RANGE, adaptive_rates
from sysopt_gym.methods.sequence_design.ascent import SHARPNESS, Differentiable, climb, gradient
from sysopt_gym.methods.sequence_design.sequences import decode, one_hot
from sysopt_gym.solvers.sequence_design.gradient_ascent import Minimum

Tiny = Callable[..., DesignTask]


@dataclass(frozen=True)
class Opposed:
    """A proxy that is sure of the opposite."""

    ensemble: Ensemble

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        return -1e6 * self.ensemble.gradient(soft)


def start(task: DesignTask) -> np.ndarray:
    return SHARPNESS * one_hot(task, task.sequences[task.starts[:32]])


def softmax(logits: np.ndarray) -> np.ndarray:
    chances: np.ndarray = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return chances


def value(proxy: Differentiable, letters: np.ndarray) -> np.ndarray:
    """In normal scores."""
    ensemble = proxy.ensemble if isinstance(proxy, Minimum) else proxy
    values, _ = ensemble.member_gradients(letters.astype(np.float32))
    if isinstance(proxy, Minimum):
        return values[trusted(ensemble)].min(axis=0)
    return ensemble.weights @ values


def trusted(ensemble: Ensemble) -> np.ndarray:
    return ensemble.weights == ensemble.weights.max()


@pytest.mark.parametrize("kind", [lambda ensemble: ensemble, Minimum])
def test_the_gradient_through_soft_letters_is_that_of_the_proxy(
    tiny_task: Tiny, kind: Callable[[Ensemble], Differentiable]
) -> None:
    task = tiny_task(1)
    proxy = kind(fit_proxy(task, np.random.default_rng(0)))
    logits = np.random.default_rng(0).normal(size=(8, task.length, task.letters))
    slope = gradient(task, proxy, decode(task, logits), logits, soft=True)
    smooth = 0
    for place, letter in ((0, 0), (2, 3), (5, 1)):
        differences = []
        for step in (5e-3, -5e-3):
            moved = logits.copy()
            moved[:, place, letter] += step
            differences.append(
                (value(proxy, softmax(moved)) - value(proxy, softmax(logits))) / step
            )
        # Where both sides agree, no unit switches here, nor does another member take over.
        same = np.abs(differences[0] - differences[1]) < 2e-3
        assert differences[0][same] == pytest.approx(slope[:, place, letter][same], abs=5e-3)
        smooth += same.sum()
    assert smooth > 8


def test_straight_through_the_proxy_sees_whole_letters(tiny_task: Tiny) -> None:
    task = tiny_task(1)
    proxy = fit_proxy(task, np.random.default_rng(0))
    logits = np.random.default_rng(0).normal(size=(8, task.length, task.letters))
    tokens = decode(task, logits)
    plain, chances = proxy.gradient(one_hot(task, tokens)), softmax(logits)
    expected = chances * (plain - (chances * plain).sum(axis=2, keepdims=True))
    assert gradient(task, proxy, tokens, logits) == pytest.approx(expected, abs=1e-4)


def test_the_minimum_is_what_the_most_doubtful_member_predicts(tiny_task: Tiny) -> None:
    task = tiny_task(2)
    ensemble = fit_proxy(task, np.random.default_rng(0))
    each = ensemble.predict_members(task.sequences)[:, trusted(ensemble)]
    least = ensemble.scale.to_scaled(each.min(axis=1))
    assert Minimum(ensemble).predict(task.sequences)[0] == pytest.approx(least)
    assert len(set(each.argmin(axis=1))) > 1


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", [lambda ensemble: ensemble, Minimum])
def test_a_climb_ends_above_its_start(
    tiny_task: Tiny, kind: Callable[[Ensemble], Differentiable], soft: bool
) -> None:
    task = tiny_task(2)
    proxy = kind(fit_proxy(task, np.random.default_rng(0)))
    first, *_, last = climb(task, proxy, start(task), 60, soft)
    before, after = proxy.predict(first)[0], proxy.predict(last)[0]
    assert after.mean() > before.mean() + 0.05


def test_rates_adapt_to_what_a_step_gains_within_their_range() -> None:
    direction = np.ones((4, 2, 3))
    upward = direction * np.array([0.0, 0.1, -0.1, 1e9])[:, None, None]
    least, most = RATE_RANGE
    assert least < RATE < most
    assert adaptive_rates(upward, direction).ravel() == pytest.approx([RATE, 0.106, 0.094, most])
    assert adaptive_rates(-upward, direction)[3] == pytest.approx(least)


def test_a_step_that_the_auxiliary_proxy_is_sure_to_lose_by_is_hardly_made(
    tiny_task: Tiny,
) -> None:
    task = tiny_task(2)
    proxy = fit_proxy(task, np.random.default_rng(0))
    moved = {}
    for name, auxiliary in (("alone", None), ("held back", Opposed(proxy))):
        first, *_, last = climb(task, proxy, start(task), 60, auxiliary=auxiliary)
        moved[name] = (first != last).mean()
    assert moved["held back"] < 0.1 < moved["alone"]
