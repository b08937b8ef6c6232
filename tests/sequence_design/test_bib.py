"""BIB's closed forms against kernel regression written out, and the language model under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sysopt_gym.core.budget import Budget
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.envs.sequence_design.plan import designs_of
from sysopt_gym.envs.sequence_design.proxy import fit_proxy
from sysopt_gym.solvers.sequence_design import (
    bdi,
    bib,
    bidirectional,
    coms,
    language_model,
)
from sysopt_gym.solvers.sequence_design.language_model import (
    offline_features,
    pretrain,
)

Tiny = Callable[..., DesignTask]


def test_both_losses_are_those_of_kernel_ridge_regression() -> None:
    """Chen et al. 2023, equations 4 and 5, with k(a, b) = a . b."""
    rng = np.random.default_rng(0)
    known, candidates = rng.normal(size=(30, 5)), rng.normal(size=(4, 5))
    scores = rng.normal(size=30)
    y = (scores - scores.mean()) / scores.std()
    kernel = known @ known.T
    ridge = bidirectional.RIDGE * np.trace(kernel) / 30
    alpha = np.linalg.solve(kernel + ridge * np.eye(30), y)
    forward = (candidates @ known.T @ alpha - bidirectional.TARGET) ** 2
    backward = []
    for own in candidates:
        k = own @ own
        predicted = known @ own / (k + bidirectional.RIDGE * k) * bidirectional.TARGET
        backward.append(np.mean((predicted - y) ** 2))
    closed = bib.closed_forms(torch.as_tensor(known), scores)
    given = torch.as_tensor(candidates)
    assert closed.forward_loss(given).numpy() == pytest.approx(forward, rel=1e-3)
    assert closed.backward_loss(given).numpy() == pytest.approx(np.array(backward))


@pytest.mark.parametrize("method", [bib, bdi])
def test_finals_are_handed_in_best_by_the_forward_regression_first(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    monkeypatch.setattr(language_model, "STEPS", 20)
    believed: dict[bytes, float] = {}

    def watched(designs: np.ndarray, values: Any) -> np.ndarray:
        believed.update(zip((row.tobytes() for row in designs), values.tolist(), strict=True))
        return bidirectional.best_first(designs, values)

    monkeypatch.setattr(method, "best_first", watched)
    task = seal(tiny_task(3))
    plan = designs_of(task, method.solve(task, Budget(20.0, 50), 0).actions)
    values = [believed[design.tobytes()] for design in plan]
    assert values == sorted(values, reverse=True) and len(set(values)) > 1


def test_starts_stand_for_the_best_measured_sequences(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    logits = bidirectional.start_logits(task, np.random.default_rng(0))
    assert (logits.argmax(axis=2) == task.sequences[task.starts[: task.batch_size]]).all()


def test_the_auxiliary_gradient_points_to_what_the_ensemble_prefers(tiny_task: Tiny) -> None:
    task = tiny_task(1)
    proxy = fit_proxy(task, np.random.default_rng(0))
    logits = bidirectional.start_logits(task, np.random.default_rng(0))
    slope = bib._auxiliary_gradient(task, proxy, logits)
    letters = bidirectional.straight_through(task, torch.as_tensor(logits)).detach().numpy()
    soft = letters.reshape(len(logits), -1).astype(np.float32)
    _, each = proxy.slopes(soft)
    plain = each.mean(axis=0).reshape(logits.shape)
    chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    expected = chances * (plain - (chances * plain).sum(axis=2, keepdims=True))
    assert slope == pytest.approx(expected, abs=1e-4)


def test_the_language_model_learns_which_letters_go_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(language_model, "STEPS", 200)
    monkeypatch.setattr(language_model, "BATCH", 32)
    rng = np.random.default_rng(0)
    half = rng.integers(0, 4, (300, 3)).astype(np.int8)
    rows = np.unique(np.concatenate([half, half], axis=1), axis=0)  # each letter stands twice
    task = make_task(
        "twice", "ACGT", rows, rows.sum(axis=1), {"landscape": "measured"}, batch_size=4
    )
    model = pretrain(task, rng, 60.0)
    soft = torch.eye(4)[torch.as_tensor(rows.astype(np.int64))]
    hidden = torch.zeros(len(rows), 6, dtype=torch.bool)
    hidden[:, 4] = True
    guesses = model.letter(model.hidden(soft, hidden))[:, 4].argmax(1).numpy()
    assert (guesses == rows[:, 1]).mean() > 0.6
    assert offline_features(model, task).shape == (len(rows), 64)
    assert not any(weight.requires_grad for weight in model.parameters())


def test_conservative_models_believe_less_in_what_ascent_leads_to(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = seal(tiny_task(2))
    reached = {}
    for tau in (-5.0, 50.0):  # always held down; never
        monkeypatch.setattr(coms, "TAU", tau)
        monkeypatch.setattr(coms, "STEPS", 150)
        monkeypatch.setattr(coms, "ALPHA", 0.0 if tau > 0 else 1.0)
        clock = Budget(60.0).start()
        proxy = coms.conservative_proxy(task, clock, np.random.default_rng(0))
        logits = coms.SHARPNESS * coms.one_hot(task, task.sequences[task.starts])
        *_, found = coms.climb(task, proxy, logits, 30)
        reached[tau] = proxy.predict(found)[0].mean() - proxy.predict(task.sequences)[0].mean()
    assert reached[-5.0] < reached[50.0]


def test_the_tangent_kernel_is_that_of_wide_networks() -> None:
    """Against the empirical kernel of a wide network of the same depth (Jacot et al. 2018)."""
    torch.manual_seed(0)
    rows = torch.as_tensor(np.random.default_rng(0).integers(0, 4, (4, 6)))
    letters = torch.eye(4).double()[rows]
    wide, layers = 1500, []
    for inner in (24, *([wide] * (bdi.DEPTH - 1))):
        layers.append(torch.randn(wide, inner).double().requires_grad_())
    layers.append(torch.randn(1, wide).double().requires_grad_())

    def run(x: torch.Tensor) -> torch.Tensor:
        for weights in layers[:-1]:
            x = (2.0 / len(weights)) ** 0.5 * torch.relu(weights @ x)
        return (layers[-1] @ x).squeeze()

    gradients = []
    for x in letters.reshape(4, -1) / 6**0.5:
        parts = torch.autograd.grad(run(x), layers)
        gradients.append(torch.cat([part.ravel() for part in parts]))
    stacked = torch.stack(gradients)
    empirical = stacked @ stacked.T
    exact = bdi.tangent_kernel(letters, letters)
    assert torch.allclose(exact.diagonal(), torch.tensor(bdi.DEPTH + 1.0).double(), atol=0.05)
    assert torch.allclose(empirical, exact, rtol=0.15)
