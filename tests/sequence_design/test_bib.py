"""BIB's closed forms against kernel regression written out, and the language model under it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sysopt_gym.core.budget import Budget
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.envs.sequence_design.plan import designs_of
from sysopt_gym.envs.sequence_design.proxy import Ensemble, fit_proxy
from sysopt_gym.methods.sequence_design import bidirectional, language_model
from sysopt_gym.methods.sequence_design.language_model import offline_features, pretrain
from sysopt_gym.solvers.sequence_design import bdi, bib, coms

Tiny = Callable[..., DesignTask]
Descend = Callable[[bib.Variant, dict[str, torch.Tensor], float], bytes]


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


@dataclasses.dataclass(frozen=True)
class Magnified:
    """A proxy that is so much surer."""

    ensemble: Ensemble
    by: float

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        return self.by * self.ensemble.gradient(soft)


@pytest.fixture
def descend(tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch) -> Descend:
    """The designs of a short descent with parts of the closed forms changed and the auxiliary
    proxy's belief magnified.
    """
    monkeypatch.setattr(language_model, "STEPS", 20)
    monkeypatch.setattr(bib, "STEPS_PROTEIN", 12)
    task = seal(tiny_task(2))
    model = pretrain(task, np.random.default_rng(0), 60.0)
    features, rows = offline_features(model, task, np.random.default_rng(0), 60.0)
    closed = bib.closed_forms(features, task.scores[rows])
    proxy = fit_proxy(task, np.random.default_rng(0))

    def designs(variant: bib.Variant, changes: dict[str, torch.Tensor], belief: float) -> bytes:
        other = dataclasses.replace(closed, **changes)
        auxiliary = Magnified(proxy, belief)
        clock, rng = Budget(60.0).start(), np.random.default_rng(0)
        return bib.descend(task, model, other, auxiliary, variant, clock, rng).tobytes()

    return designs


def test_each_loss_alone_does_not_know_the_other(descend: Descend) -> None:
    torch.manual_seed(0)
    backward = {"cross": torch.randn(64).double(), "second": torch.eye(64).double()}
    forward = {"weights": torch.randn(64).double()}
    both = bib.Variant(adaptive_gamma=False)
    for gamma, other_loss in ((1.0, backward), (0.0, forward)):
        alone = bib.Variant(gamma=gamma, adaptive_gamma=False)
        assert descend(alone, {}, 1.0) == descend(alone, other_loss, 1.0)
        assert descend(both, {}, 1.0) != descend(both, other_loss, 1.0)


def test_only_what_adapts_asks_the_auxiliary_proxy(descend: Descend) -> None:
    def asks(variant: bib.Variant) -> bool:
        return descend(variant, {}, 1.0) != descend(variant, {}, -1e4)

    assert not asks(bib.Variant(adaptive_gamma=False, adaptive_eta=False))
    assert asks(bib.Variant(adaptive_eta=False))
    assert asks(bib.Variant(adaptive_gamma=False))


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
    model = pretrain(task, rng, 600.0)
    soft = torch.eye(4)[torch.as_tensor(rows.astype(np.int64))]
    hidden = torch.zeros(len(rows), 6, dtype=torch.bool)
    hidden[:, 4] = True
    guesses = model.letter(model.encode(soft, hidden))[:, 4].argmax(1).numpy()
    assert (guesses == rows[:, 1]).mean() > 0.6
    assert not any(weight.requires_grad for weight in model.parameters())


def test_features_are_of_all_offline_rows_or_of_a_random_part_that_there_is_time_for() -> None:
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, 4, (2000, 6)), axis=0).astype(np.int8)
    task = make_task("many", "ACGT", rows, rows.sum(axis=1), {"landscape": "measured"})
    torch.manual_seed(0)
    model = language_model.LanguageModel(4, 6)
    features, of_all = offline_features(model, task, rng, 60.0)
    assert (np.sort(of_all) == np.arange(len(rows))).all()
    some, of_some = offline_features(model, task, rng, 0.0)
    assert len(of_some) == language_model.CHUNK < len(rows)
    place = {row: at for at, row in enumerate(of_all)}
    assert torch.allclose(some, features[[place[row] for row in of_some]], atol=1e-5)


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
    tokens = rows.numpy().astype(np.int8)
    exact = bdi.tangent_kernel(bdi.alike(tokens, tokens))
    assert torch.allclose(exact.diagonal(), torch.tensor(bdi.DEPTH + 1.0).double(), atol=0.05)
    assert torch.allclose(empirical, exact, rtol=0.15)
