"""Bayesian optimization: what its Gaussian process believes, and the batch it puts together."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import MissingDependencyError
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.methods.sequence_design.sequences import mutants
from sysopt_gym.solvers.sequence_design import bo

Tiny = Callable[..., DesignTask]


def improvement_of(task: DesignTask) -> bo.Improvement:
    return bo.Improvement(seal(task), Budget(10.0).start(), np.random.default_rng(0))


def test_expected_improvement_is_the_mean_over_samples_of_what_they_add(tiny_task: Tiny) -> None:
    task = tiny_task(3)
    improvement = improvement_of(task)
    rng = np.random.default_rng(1)
    near = mutants(task.sequences[task.starts[:40]], task.letters, 0.3, rng)
    expected, deviations = improvement.predict(near)
    samples = np.concatenate([improvement.samples(near, rng) for _ in range(8)])
    sampled = np.maximum(samples - improvement.incumbent, 0.0).mean(axis=0)
    assert expected == pytest.approx(sampled, rel=0.15, abs=2e-3)
    assert samples.std(axis=0) == pytest.approx(deviations, rel=0.1, abs=1e-3)


def test_the_process_predicts_what_it_was_not_fitted_to() -> None:
    rng = np.random.default_rng(0)
    every = np.unique(rng.integers(0, 4, (600, 6)), axis=0).astype(np.int8)
    scores = rng.normal(size=(6, 4))[np.arange(6), every].sum(axis=1)
    known, unknown = every[:300], every[300:]
    task = make_task("additive", "ACGT", known, scores[:300], {"landscape": "measured"})
    samples = improvement_of(task).samples(unknown, rng)
    assert np.corrcoef(samples.mean(axis=0), scores[300:])[0, 1] > 0.7


def test_a_batch_is_built_of_what_adds_to_it() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(1.0, 1.0, 4000)
    copy, other, hopeless = one - 0.01, rng.normal(0.8, 1.0, 4000), np.full(4000, -5.0)
    samples = np.stack([hopeless, one, copy, other], axis=1)
    assert bo.greedy_batch(samples, 0.0, 3) == [1, 3, 0]


def test_without_botorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botorch", None)
    monkeypatch.setitem(sys.modules, "botorch.models", None)
    monkeypatch.delitem(sys.modules, bo.__name__)
    with pytest.raises(MissingDependencyError, match=r"sysopt-gym\[bo\]"):
        load_contender("sequence_design", "bo")
