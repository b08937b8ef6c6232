"""Proxies: that they learn, that inference is what it should be, and gradients by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.envs.sequence_design.proxy import (
    Ensemble,
    Trainer,
    fit_proxy,
    reference_proxy,
    scaled_scores,
)

Tiny = Callable[..., DesignTask]


@pytest.fixture(scope="module")
def additive() -> tuple[DesignTask, np.ndarray, np.ndarray]:
    """The lower half of an additive landscape of DNA 6-mers; and all of it."""
    rng = np.random.default_rng(0)
    every = np.array(np.meshgrid(*[range(4)] * 6)).reshape(6, -1).T.astype(np.int8)
    scores = rng.normal(size=(6, 4))[np.arange(6), every].sum(axis=1)
    low = scores <= np.median(scores)
    task = make_task("additive", "ACGT", every[low], scores[low], {"landscape": "measured"})
    return task, every, scores


def dense(proxy: Ensemble, tokens: np.ndarray) -> np.ndarray:
    """The networks as plain products, float64 [n, E]."""
    inputs = np.eye(proxy.first.shape[1] // tokens.shape[1])[tokens].reshape(len(tokens), -1)
    hidden = np.maximum(inputs @ proxy.first + proxy.first_bias[:, None], 0)
    hidden = np.maximum(hidden @ proxy.second + proxy.second_bias[:, None], 0)
    return (np.einsum("enw,ew->en", hidden, proxy.last) + proxy.last_bias[:, None]).T


def test_a_proxy_ranks_what_it_never_saw(
    additive: tuple[DesignTask, np.ndarray, np.ndarray],
) -> None:
    task, every, scores = additive
    means, _ = fit_proxy(task, np.random.default_rng(1)).predict(every)
    high = scores > np.median(scores)
    assert np.corrcoef(means[high], scores[high])[0, 1] > 0.7
    assert np.corrcoef(means[~high], scores[~high])[0, 1] > 0.9


def test_inference_is_the_networks_and_does_not_depend_on_the_neighbours(
    additive: tuple[DesignTask, np.ndarray, np.ndarray],
) -> None:
    task, every, _ = additive
    proxy = fit_proxy(task, np.random.default_rng(2), members=3)
    some = every[::37]
    assert proxy.each(some) == pytest.approx(dense(proxy, some), abs=1e-4)
    assert (proxy.each(some) == np.concatenate([proxy.each(row[None]) for row in some])).all()
    mean, spread = proxy.predict(some)
    assert (proxy.pessimistic(some, 2.0) == mean - 2.0 * spread).all()
    assert (spread > 0).any()


def test_slopes_are_the_gradients(additive: tuple[DesignTask, np.ndarray, np.ndarray]) -> None:
    task, every, _ = additive
    proxy = fit_proxy(task, np.random.default_rng(3), members=2)
    soft = np.eye(4, dtype=np.float32)[every[:3]].reshape(3, -1) * np.float32(0.7)
    values, slopes = proxy.slopes(soft)
    step = np.float32(1e-2)
    for column in (0, 5, 23):
        moved = soft.copy()
        moved[:, column] += step
        difference = (proxy.slopes(moved)[0] - values) / step
        assert difference == pytest.approx(slopes[:, :, column], abs=0.05)


def test_the_trainers_gradients_lower_the_error(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    trainer = Trainer(task, np.random.default_rng(0), 2)
    errors = []
    for steps in (0, 100):
        trainer.run(steps, None)
        means, _ = trainer.ensemble().predict(task.sequences)
        errors.append(np.mean((means - scaled_scores(task)) ** 2))
    assert errors[1] < 0.5 * errors[0]


def test_the_same_generator_gives_the_same_proxy_and_seconds_cut_it_short(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    one, other = (fit_proxy(task, np.random.default_rng(5)) for _ in range(2))
    assert (one.each(task.sequences) == other.each(task.sequences)).all()
    trainer = Trainer(task, np.random.default_rng(5), 1)
    trainer.run(10_000, 1e-6)
    assert trainer.step == 10


def test_the_reference_proxy_is_of_the_sealed_task(tiny_task: Tiny) -> None:
    task = tiny_task(1)
    assert reference_proxy(task) is reference_proxy(seal(task))
